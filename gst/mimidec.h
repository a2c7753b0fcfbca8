// SPDX-License-Identifier: MIT
#pragma once

#include <gst/audio/audio.h>

#include "decoder.h"

GST_DEBUG_CATEGORY_EXTERN(mimidec_debug);

GST_ELEMENT_REGISTER_DECLARE(mimidec)

/** What `element`, a mimidec, does with its stream. */
gstmoshi::Decoder* gst_mimi_dec_get_decoder(GstElement* element);
