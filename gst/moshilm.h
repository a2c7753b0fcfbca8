// SPDX-License-Identifier: MIT
#pragma once

#include <gst/gst.h>

GST_DEBUG_CATEGORY_EXTERN(moshilm_debug);

GST_ELEMENT_REGISTER_DECLARE(moshilm)

/** Tells `element`, a moshilm, that its model is loaded. */
void gst_moshi_lm_loaded(GstElement* element);
