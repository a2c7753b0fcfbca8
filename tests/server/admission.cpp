// SPDX-License-Identifier: MIT
// Who may talk, who waits, who is refused.
#include "admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

using server::Admission;
using server::Session;

namespace {

/// Only an address counts.
Session* client(int number) { return reinterpret_cast<Session*>(static_cast<uintptr_t>(number + 1) * 64); }

TEST(Admission, PlacesThenQueueThenRefusal) {
  Admission admission(2, 1);
  EXPECT_EQ(admission.ask(client(0)), Admission::Answer::kBegin);
  EXPECT_EQ(admission.ask(client(1)), Admission::Answer::kBegin);
  EXPECT_FALSE(admission.full());
  EXPECT_EQ(admission.ask(client(2)), Admission::Answer::kWait);
  EXPECT_TRUE(admission.full());
  EXPECT_EQ(admission.ask(client(3)), Admission::Answer::kRefuse);
  EXPECT_EQ(admission.talking(), 2);
  EXPECT_EQ(admission.waiting().size(), 1u);
}

TEST(Admission, WhoWaitsLongestIsNext) {
  Admission admission(1, 3);
  for (int i = 0; i < 4; ++i) admission.ask(client(i));
  EXPECT_EQ(admission.leave(client(0)), client(1));
  EXPECT_EQ(admission.leave(client(1)), client(2));
  EXPECT_EQ(admission.talking(), 1);
}

TEST(Admission, LeavingTheQueueFreesNoPlace) {
  Admission admission(1, 2);
  for (int i = 0; i < 3; ++i) admission.ask(client(i));
  EXPECT_EQ(admission.leave(client(1)), nullptr);
  EXPECT_EQ(admission.waiting().front(), client(2));
  EXPECT_EQ(admission.leave(client(0)), client(2));
}

TEST(Admission, WhoHasEndedHoldsThePlaceUntilItLeaves) {
  Admission admission(1, 1);
  admission.ask(client(0));
  admission.ask(client(1));
  admission.end(client(0));
  EXPECT_EQ(admission.talking(), 0);
  EXPECT_FALSE(admission.full());
  EXPECT_EQ(admission.ask(client(2)), Admission::Answer::kWait) << "one of the two has a place soon";
  EXPECT_EQ(admission.ask(client(3)), Admission::Answer::kRefuse);
  EXPECT_EQ(admission.leave(client(0)), client(1));
  EXPECT_TRUE(admission.full());
}

TEST(Admission, StrangersChangeNothing) {
  Admission admission(1, 1);
  admission.ask(client(0));
  admission.ask(client(1));
  EXPECT_EQ(admission.leave(client(7)), nullptr);
  EXPECT_EQ(admission.talking(), 1);
  EXPECT_EQ(admission.waiting().size(), 1u);
}

TEST(Admission, WithoutAQueueThereIsNoWaiting) {
  Admission admission(1, 0);
  EXPECT_EQ(admission.ask(client(0)), Admission::Answer::kBegin);
  EXPECT_EQ(admission.ask(client(1)), Admission::Answer::kRefuse);
  EXPECT_EQ(admission.leave(client(0)), nullptr);
  EXPECT_EQ(admission.talking(), 0);
}

// Whatever comes and goes, nobody waits while there is a place, and none of the bounds is exceeded.
TEST(Admission, HoldsItsBounds) {
  Admission admission(5, 4);
  std::minstd_rand random(17);
  std::vector<int> there;
  for (int step = 0, next = 0; step < 20000; ++step) {
    if (there.empty() || random() % 2) {
      const auto answer = admission.ask(client(next));
      EXPECT_EQ(answer == Admission::Answer::kRefuse, there.size() == 9);
      if (answer != Admission::Answer::kRefuse) there.push_back(next);
      ++next;
    } else {
      const size_t at = random() % there.size();
      Session* leaving = client(there[at]);
      const bool waited = std::count(admission.waiting().begin(), admission.waiting().end(), leaving) > 0;
      Session* longest = admission.waiting().empty() ? nullptr : admission.waiting().front();
      EXPECT_EQ(admission.leave(leaving), waited ? nullptr : longest);
      there.erase(there.begin() + static_cast<std::ptrdiff_t>(at));
    }
    ASSERT_EQ(static_cast<size_t>(admission.talking()), std::min<size_t>(there.size(), 5));
    ASSERT_EQ(admission.waiting().size(), there.size() - static_cast<size_t>(admission.talking()));
  }
}

}  // namespace
