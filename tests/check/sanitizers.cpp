// SPDX-License-Identifier: MIT
// Only in builds with a sanitizer: what it has to know about libraries that are not built with it.
#ifdef __SANITIZE_ADDRESS__

extern "C" {

const char* __asan_default_options();
const char* __lsan_default_suppressions();
const char* __lsan_default_options();

// GLib has no frame pointers.
const char* __asan_default_options() { return "fast_unwind_on_malloc=0"; }
const char* __lsan_default_options() { return "print_suppressions=0"; }
// When GLib's table of quarks grows, readers without a lock may still be in the old one: it is never freed.
const char* __lsan_default_suppressions() { return "leak:_dl_init\nleak:g_quark_\nleak:g_intern_\n"; }

}  // extern "C"

#endif
#ifdef __SANITIZE_THREAD__

#include <dlfcn.h>
#include <gst/gst.h>

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

// GLib's locks are bare futexes, so that the sanitizer would take every hand-over between threads through GLib or
// GStreamer for a data race. These functions come before GLib's, call them, and tell what happens before what.

extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);

// GLib has some of them as macros too.
#undef g_object_ref
#undef g_object_unref

namespace {

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#define NEXT(name) static const auto next = Next<decltype(name)>(#name)

extern "C" {

void g_mutex_lock(GMutex* mutex) {
  NEXT(g_mutex_lock);
  next(mutex);
  __tsan_acquire(mutex);
}

gboolean g_mutex_trylock(GMutex* mutex) {
  NEXT(g_mutex_trylock);
  if (!next(mutex)) return FALSE;
  __tsan_acquire(mutex);
  return TRUE;
}

void g_mutex_unlock(GMutex* mutex) {
  NEXT(g_mutex_unlock);
  __tsan_release(mutex);
  next(mutex);
}

void g_cond_wait(GCond* condition, GMutex* mutex) {
  NEXT(g_cond_wait);
  __tsan_release(mutex);
  next(condition, mutex);
  __tsan_acquire(mutex);
}

gboolean g_cond_wait_until(GCond* condition, GMutex* mutex, gint64 end) {
  NEXT(g_cond_wait_until);
  __tsan_release(mutex);
  const gboolean woken = next(condition, mutex, end);
  __tsan_acquire(mutex);
  return woken;
}

void g_async_queue_push(GAsyncQueue* queue, gpointer data) {
  NEXT(g_async_queue_push);
  __tsan_release(queue);
  next(queue, data);
}

void g_async_queue_push_unlocked(GAsyncQueue* queue, gpointer data) {
  NEXT(g_async_queue_push_unlocked);
  __tsan_release(queue);
  next(queue, data);
}

gpointer g_async_queue_pop(GAsyncQueue* queue) {
  NEXT(g_async_queue_pop);
  gpointer data = next(queue);
  __tsan_acquire(queue);
  return data;
}

gpointer g_async_queue_try_pop(GAsyncQueue* queue) {
  NEXT(g_async_queue_try_pop);
  gpointer data = next(queue);
  __tsan_acquire(queue);
  return data;
}

gpointer g_async_queue_timeout_pop(GAsyncQueue* queue, guint64 timeout) {
  NEXT(g_async_queue_timeout_pop);
  gpointer data = next(queue, timeout);
  __tsan_acquire(queue);
  return data;
}

// Whoever drops the last reference sees all that the others did.
void g_object_unref(gpointer object) {
  NEXT(g_object_unref);
  __tsan_release(object);
  __tsan_acquire(object);
  next(object);
}

void gst_mini_object_unref(GstMiniObject* object) {
  NEXT(gst_mini_object_unref);
  __tsan_release(object);
  __tsan_acquire(object);
  next(object);
}

void gst_object_unref(gpointer object) {
  NEXT(gst_object_unref);
  __tsan_release(object);
  __tsan_acquire(object);
  next(object);
}

}  // extern "C"

#endif
