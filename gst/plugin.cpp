// SPDX-License-Identifier: MIT
// The plugin registers its elements whether or not there is a core: what is missing is said when one is used.
#include "core_loader.h"
#include "mimidec.h"
#include "mimienc.h"
#include "mimiparse.h"
#include "moshilm.h"

static gboolean plugin_init(GstPlugin* plugin) {
  gstmoshi::InitCoreDebug();
  gboolean any = FALSE;
  any |= GST_ELEMENT_REGISTER(mimienc, plugin);
  any |= GST_ELEMENT_REGISTER(mimidec, plugin);
  any |= GST_ELEMENT_REGISTER(mimiparse, plugin);
  any |= GST_ELEMENT_REGISTER(moshilm, plugin);
#if GST_CHECK_VERSION(1, 29, 1)
  gst_plugin_set_static_features_flag(plugin);
#endif
  return any;
}

GST_PLUGIN_DEFINE(GST_VERSION_MAJOR, GST_VERSION_MINOR, moshi,
                  "Kyutai's neural speech codec Mimi and language model Moshi", plugin_init, PACKAGE_VERSION, "MIT/X11",
                  "gst-moshi", "Unknown package origin")
