// SPDX-License-Identifier: MIT
// The language model's part of the function table.
#pragma once

#include <moshi/core.h>

#include "engine.h"

namespace moshi_fake {

/** Makes the facts those of a language model, as the knobs say. */
void ReadLmFacts(const MoshiEngineConfig& config, Facts& facts);

MoshiStatus LmInfo(MoshiEngine* engine, MoshiLmInfo* info, MoshiError* error);
MoshiStatus LmPiece(MoshiEngine* engine, int32_t token, MoshiPiece* piece, MoshiError* error);
MoshiStatus SessionSeed(MoshiSession* session, int64_t* seed, MoshiError* error);
/** session_set() of a language model's session, whose jobs have ended. */
MoshiStatus LmSet(MoshiSession* session, const char* name, double value, MoshiError* error);
MoshiStatus LmSetConditions(MoshiSession* session, const MoshiCondition* conditions, size_t count, MoshiError* error);
/** What is wrong with a job, or null. */
const char* WrongWithStep(const MoshiSession* session, const MoshiJob* job);
MoshiStatus RunStep(const Facts& facts, MoshiSession* session, MoshiJob* job, MoshiError* error);

/** The seed of a new session: the given one, or one that is drawn. */
int64_t DrawSeed(int64_t wanted);

}  // namespace moshi_fake
