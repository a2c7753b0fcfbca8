// SPDX-License-Identifier: MIT
// A certificate of one's own, for browsers that want TLS before they give the microphone.
#pragma once

#include <string>

namespace server {

/// Makes cert.pem and key.pem in `folder` (made, too; the key readable by its owner only) for localhost, this machine's
/// name and addresses, and `host`, unless both are there. Servers that start together make one pair. False: `problem`
/// is a sentence.
bool ensure_certificate(const std::string& folder, const std::string& host, std::string* problem);

/// SHA-256 of the certificate, in the form in which browsers show it; empty if it cannot be read.
std::string fingerprint(const std::string& folder);

/// Whether its time is over, so that no browser takes it.
bool expired(const std::string& folder);

}  // namespace server
