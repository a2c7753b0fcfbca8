// SPDX-License-Identifier: MIT
// From streaming threads to the default GMainContext, in order.
#pragma once

#include <glib.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "packet_queue.h"

namespace server {

/// What a pipeline tells.
struct Mail {
  enum class Kind {
    kAudio,    ///< `buffer`: a packet, or samples.
    kText,     ///< One for each frame; `text` is empty where the model writes nothing.
    kLoaded,   ///< An element has its model; `text` is its name.
    kHungry,   ///< The pipeline takes more.
    kError,    ///< `text` for people, `detail` for the log.
    kStopped,  ///< Nothing of this run comes after it.
  };
  Kind kind;
  Buffer buffer = nullptr;
  std::string text = {}, detail = {};
  uint64_t run = 0;  ///< Which of a conversation's pipelines.
};

/// post() may be called on any thread, the rest on the one of the default GMainContext.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  using Reader = std::function<void(Mail)>;

  explicit Mailbox(Reader reader);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void post(Mail mail);
  /// Nothing is read after it, even when it is called by the reader.
  void close();

 private:
  static gboolean dispatch(gpointer self);
  void read();

  Reader reader_;
  GSource* source_;
  bool closed_ = false;  ///< Of the reader's thread.
  std::mutex mutex_;
  std::vector<Mail> mails_;
  bool open_ = true;
};

}  // namespace server
