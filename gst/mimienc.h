// SPDX-License-Identifier: MIT
#pragma once

#include <gst/audio/audio.h>

#include "encoder.h"

GST_DEBUG_CATEGORY_EXTERN(mimienc_debug);

GST_ELEMENT_REGISTER_DECLARE(mimienc)

/** What `element`, a mimienc, does with its stream. */
gstmoshi::Encoder* gst_mimi_enc_get_encoder(GstElement* element);
