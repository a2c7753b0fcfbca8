// SPDX-License-Identifier: MIT
#include "mailbox.h"

#include <utility>

namespace server {
namespace {

constexpr gint64 kNever = -1, kNow = 0;

gboolean call(GSource*, GSourceFunc function, gpointer user) { return function(user); }

GSourceFuncs functions = {nullptr, nullptr, call, nullptr, nullptr, nullptr};

}  // namespace

Mailbox::Mailbox(Reader reader) : reader_(std::move(reader)), source_(g_source_new(&functions, sizeof(GSource))) {
  g_source_set_callback(source_, &Mailbox::dispatch, this, nullptr);
  g_source_attach(source_, nullptr);
}

Mailbox::~Mailbox() {
  close();
  g_source_unref(source_);
}

void Mailbox::post(Mail mail) {
  const std::lock_guard lock(mutex_);
  if (!open_) return;
  mails_.push_back(std::move(mail));
  if (mails_.size() == 1) g_source_set_ready_time(source_, kNow);
}

void Mailbox::close() {
  closed_ = true;
  {
    const std::lock_guard lock(mutex_);
    open_ = false;
    mails_.clear();
  }
  g_source_destroy(source_);
}

gboolean Mailbox::dispatch(gpointer self) {
  // Whoever reads may be its last owner.
  const std::shared_ptr<Mailbox> alive = static_cast<Mailbox*>(self)->shared_from_this();
  alive->read();
  return G_SOURCE_CONTINUE;
}

void Mailbox::read() {
  std::vector<Mail> mails;
  {
    const std::lock_guard lock(mutex_);
    mails.swap(mails_);
    g_source_set_ready_time(source_, kNever);
  }
  for (Mail& mail : mails) {
    if (closed_) return;
    reader_(std::move(mail));
  }
}

}  // namespace server
