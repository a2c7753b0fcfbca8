// SPDX-License-Identifier: MIT
#pragma once

#include <gst/gst.h>

GST_DEBUG_CATEGORY_EXTERN(mimiparse_debug);

GST_ELEMENT_REGISTER_DECLARE(mimiparse)
