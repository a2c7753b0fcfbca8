// SPDX-License-Identifier: MIT
#include "guarded_stream.h"

#include <algorithm>
#include <utility>

namespace {

/// Others have their turn after so many bytes.
constexpr gsize kTurnBytes = 128 * 1024;

}  // namespace

// --- The input ----------------------------------------------------------------------------------------------------

G_DECLARE_FINAL_TYPE(GuardedInput, guarded_input, MOSHI, GUARDED_INPUT, GInputStream)

struct _GuardedInput {
  GInputStream parent;
  GInputStream* base;
  guint64 received, unclaimed, most_unclaimed;
  gsize turn;
  bool draining;
};

namespace {

GPollableInputStream* base_of(GPollableInputStream* stream) {
  return G_POLLABLE_INPUT_STREAM(MOSHI_GUARDED_INPUT(stream)->base);
}

gboolean can_poll(GPollableInputStream* stream) { return g_pollable_input_stream_can_poll(base_of(stream)); }
gboolean is_readable(GPollableInputStream* stream) { return g_pollable_input_stream_is_readable(base_of(stream)); }

// Whoever reads asks for this when there was nothing more: its next turn.
GSource* create_source(GPollableInputStream* stream, GCancellable* cancellable) {
  MOSHI_GUARDED_INPUT(stream)->turn = 0;
  GSource* base = g_pollable_input_stream_create_source(base_of(stream), nullptr);
  GSource* source = g_pollable_source_new_full(stream, base, cancellable);
  g_source_unref(base);
  return source;
}

gssize read_nonblocking(GPollableInputStream* stream, void* bytes, gsize count, GError** error) {
  GuardedInput* self = MOSHI_GUARDED_INPUT(stream);
  if (self->most_unclaimed > 0 && self->unclaimed > self->most_unclaimed) {
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE, "A message does not end");
    return -1;
  }
  while (self->turn < kTurnBytes) {
    const gssize got = g_pollable_input_stream_read_nonblocking(base_of(stream), bytes, count, nullptr, error);
    if (got <= 0) return got;
    self->turn += static_cast<gsize>(got);
    self->received += static_cast<guint64>(got);
    if (self->draining) continue;
    self->unclaimed += static_cast<guint64>(got);
    return got;
  }
  g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK, "Others have their turn");
  return -1;
}

void init_pollable(GPollableInputStreamInterface* interface) {
  interface->can_poll = can_poll;
  interface->is_readable = is_readable;
  interface->create_source = create_source;
  interface->read_nonblocking = read_nonblocking;
}

}  // namespace

G_DEFINE_TYPE_WITH_CODE(GuardedInput, guarded_input, G_TYPE_INPUT_STREAM,
                        G_IMPLEMENT_INTERFACE(G_TYPE_POLLABLE_INPUT_STREAM, init_pollable))

static void guarded_input_init(GuardedInput*) {}

static void guarded_input_finalize(GObject* object) {
  g_object_unref(MOSHI_GUARDED_INPUT(object)->base);
  G_OBJECT_CLASS(guarded_input_parent_class)->finalize(object);
}

static void guarded_input_class_init(GuardedInputClass* klass) {
  G_OBJECT_CLASS(klass)->finalize = guarded_input_finalize;
  G_INPUT_STREAM_CLASS(klass)->read_fn = [](GInputStream* stream, void* bytes, gsize count, GCancellable* cancellable,
                                            GError** error) {
    return g_input_stream_read(MOSHI_GUARDED_INPUT(stream)->base, bytes, count, cancellable, error);
  };
}

// --- Both directions ----------------------------------------------------------------------------------------------

G_DECLARE_FINAL_TYPE(GuardedStream, guarded_stream, MOSHI, GUARDED_STREAM, GIOStream)

struct _GuardedStream {
  GIOStream parent;
  GIOStream* base;
  GuardedInput* input;
};

G_DEFINE_TYPE(GuardedStream, guarded_stream, G_TYPE_IO_STREAM)

namespace {

enum Property : guint { kPropBase = 1 };

GInputStream* get_input(GIOStream* stream) { return G_INPUT_STREAM(MOSHI_GUARDED_STREAM(stream)->input); }
GOutputStream* get_output(GIOStream* stream) {
  return g_io_stream_get_output_stream(MOSHI_GUARDED_STREAM(stream)->base);
}

gboolean close_stream(GIOStream* stream, GCancellable* cancellable, GError** error) {
  return g_io_stream_close(MOSHI_GUARDED_STREAM(stream)->base, cancellable, error);
}

void on_base_closed(GObject* base, GAsyncResult* result, gpointer user) {
  GTask* task = G_TASK(user);
  GError* error = nullptr;
  if (g_io_stream_close_finish(G_IO_STREAM(base), result, &error))
    g_task_return_boolean(task, TRUE);
  else
    g_task_return_error(task, error);
  g_object_unref(task);
}

// Without it, GIO would close the stream on a thread.
void close_async(GIOStream* stream, int priority, GCancellable* cancellable, GAsyncReadyCallback callback,
                 gpointer user) {
  GTask* task = g_task_new(stream, cancellable, callback, user);
  g_io_stream_close_async(MOSHI_GUARDED_STREAM(stream)->base, priority, cancellable, on_base_closed, task);
}

gboolean close_finish(GIOStream*, GAsyncResult* result, GError** error) {
  return g_task_propagate_boolean(G_TASK(result), error);
}

GIOStream* guard(GIOStream* base) {
  auto* stream = MOSHI_GUARDED_STREAM(g_object_new(guarded_stream_get_type(), nullptr));
  stream->base = base;
  stream->input->base = G_INPUT_STREAM(g_object_ref(g_io_stream_get_input_stream(base)));
  return G_IO_STREAM(stream);
}

}  // namespace

static void guarded_stream_init(GuardedStream* self) {
  self->input = MOSHI_GUARDED_INPUT(g_object_new(guarded_input_get_type(), nullptr));
}

static void guarded_stream_finalize(GObject* object) {
  g_object_unref(MOSHI_GUARDED_STREAM(object)->input);
  g_object_unref(MOSHI_GUARDED_STREAM(object)->base);
  G_OBJECT_CLASS(guarded_stream_parent_class)->finalize(object);
}

static void guarded_stream_class_init(GuardedStreamClass* klass) {
  auto* object_class = G_OBJECT_CLASS(klass);
  object_class->finalize = guarded_stream_finalize;
  object_class->get_property = [](GObject* object, guint, GValue* value, GParamSpec*) {
    g_value_set_object(value, MOSHI_GUARDED_STREAM(object)->base);
  };
  constexpr auto flags = static_cast<GParamFlags>(G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_property(object_class, kPropBase,
                                  g_param_spec_object("base-iostream", nullptr, nullptr, G_TYPE_IO_STREAM, flags));
  auto* stream_class = G_IO_STREAM_CLASS(klass);
  stream_class->get_input_stream = get_input;
  stream_class->get_output_stream = get_output;
  stream_class->close_fn = close_stream;
  stream_class->close_async = close_async;
  stream_class->close_finish = close_finish;
}

// --- What others see ----------------------------------------------------------------------------------------------

namespace server {
namespace {

using Accepted = std::function<void(SoupWebsocketConnection*)>;

void on_answered(SoupServerMessage* message, gpointer user) {
  const Accepted accepted = std::exchange(*static_cast<Accepted*>(user), nullptr);
  if (!accepted) return;
  GIOStream* stream = guard(soup_server_message_steal_connection(message));
  SoupMessageHeaders* headers = soup_server_message_get_request_headers(message);
  SoupWebsocketConnection* socket =
      soup_websocket_connection_new(stream, soup_server_message_get_uri(message), SOUP_WEBSOCKET_CONNECTION_SERVER,
                                    soup_message_headers_get_one(headers, "Origin"), nullptr, nullptr);
  g_object_unref(stream);
  accepted(socket);
  g_object_unref(socket);
}

}  // namespace

void accept_web_socket(SoupServerMessage* message, Accepted accepted) {
  if (!soup_websocket_server_process_handshake(message, nullptr, nullptr, nullptr, nullptr)) return;
  auto destroy = [](gpointer user, GClosure*) { delete static_cast<Accepted*>(user); };
  g_signal_connect_data(message, "wrote-informational", G_CALLBACK(on_answered), new Accepted(std::move(accepted)),
                        destroy, G_CONNECT_DEFAULT);
}

StreamGuard::StreamGuard(GIOStream* stream) {
  GInputStream* input = g_io_stream_get_input_stream(stream);
  input_ = G_TYPE_CHECK_INSTANCE_TYPE(input, guarded_input_get_type()) ? MOSHI_GUARDED_INPUT(input) : nullptr;
}

void StreamGuard::set_most_unclaimed(uint64_t bytes) {
  if (input_) input_->most_unclaimed = bytes;
}

void StreamGuard::note_message() {
  if (input_) input_->unclaimed = 0;
}

void StreamGuard::drain() {
  if (input_) input_->draining = true;
}

uint64_t StreamGuard::received() const { return input_ ? input_->received : 0; }

}  // namespace server
