// SPDX-License-Identifier: MIT
#include "certificate.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "../app.h"

namespace server {
namespace {

constexpr long kDays = 397;  // what browsers take at most

template <auto Free>
using Deleter = app::Deleter<Free>;
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using File = std::unique_ptr<FILE, Deleter<fclose>>;

std::string certificate_path(const std::string& folder) { return folder + "/cert.pem"; }
std::string key_path(const std::string& folder) { return folder + "/key.pem"; }

bool exists(const std::string& path) { return g_file_test(path.c_str(), G_FILE_TEST_EXISTS); }

std::string machine_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

bool is_name(const std::string& text) {
  for (const char one : text) {
    if (!g_ascii_isalnum(one) && one != '-' && one != '.') return false;
  }
  return !text.empty() && text.size() < 254;
}

/// As X.509 wants them: "DNS:localhost", "IP:127.0.0.1".
std::set<std::string> alternative_names(const std::string& host) {
  std::set<std::string> names = {"DNS:localhost", "IP:127.0.0.1", "IP:::1"};
  const std::string machine = machine_name();
  for (const std::string& name : {machine, machine + ".local", host}) {
    if (g_hostname_is_ip_address(name.c_str())) {
      if (name.find('%') == std::string::npos) names.insert("IP:" + name);
    } else if (is_name(name) && name != ".local") {
      names.insert("DNS:" + name);
    }
  }
  ifaddrs* raw = nullptr;
  if (getifaddrs(&raw) != 0) return names;
  const std::unique_ptr<ifaddrs, Deleter<freeifaddrs>> all(raw);
  for (const ifaddrs* one = raw; one; one = one->ifa_next) {
    const int family = one->ifa_addr ? one->ifa_addr->sa_family : AF_UNSPEC;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    char text[NI_MAXHOST];
    if (getnameinfo(one->ifa_addr, size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (!strchr(text, '%')) names.insert(std::string("IP:") + text);  // no addresses of one link
  }
  return names;
}

bool add_extension(X509* certificate, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

Certificate make_certificate(EVP_PKEY* key, const std::string& host) {
  Certificate certificate(X509_new());
  const std::unique_ptr<BIGNUM, Deleter<BN_free>> serial(BN_new());
  std::string names;
  for (const std::string& name : alternative_names(host)) names += (names.empty() ? "" : ",") + name;
  X509* raw = certificate.get();
  if (!raw || !serial || BN_rand(serial.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1) return nullptr;
  X509_NAME* subject = X509_get_subject_name(raw);
  const auto* title = reinterpret_cast<const unsigned char*>("moshi-server");
  const bool good = X509_set_version(raw, 2) == 1 && BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(raw)) &&
                    X509_gmtime_adj(X509_getm_notBefore(raw), -3600) &&
                    X509_gmtime_adj(X509_getm_notAfter(raw), kDays * 24 * 3600) && X509_set_pubkey(raw, key) == 1 &&
                    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, title, -1, -1, 0) == 1 &&
                    X509_set_issuer_name(raw, subject) == 1 && add_extension(raw, NID_subject_alt_name, names) &&
                    add_extension(raw, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(raw, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(raw, NID_ext_key_usage, "serverAuth") && X509_sign(raw, key, EVP_sha256()) > 0;
  return good ? std::move(certificate) : nullptr;
}

/// One process at a time is at work in the folder. Where that cannot be, files that are there are still not replaced.
class Lock {
 public:
  explicit Lock(const std::string& folder) : descriptor_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    while (descriptor_ >= 0 && flock(descriptor_, LOCK_EX) != 0 && errno == EINTR) continue;
  }
  ~Lock() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  const int descriptor_;
};

/// A new file; readable by others or not from its first moment.
File create(const std::string& path, mode_t mode) {
  const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  return File(descriptor < 0 ? nullptr : fdopen(descriptor, "w"));
}

bool finish(File file) { return fflush(file.get()) == 0 && !ferror(file.get()); }

bool make_both(const std::string& folder, const std::string& host, std::string* problem) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate = key ? make_certificate(key.get(), host) : nullptr;
  if (!certificate) {
    char reason[256];
    ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
    *problem = std::string("cannot make a certificate: ") + reason;
    return false;
  }
  errno = 0;
  File key_file = create(key_path(folder), 0600);
  const bool key_written =
      key_file && PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1;
  File file = key_written ? create(certificate_path(folder), 0644) : nullptr;
  const bool written = file && PEM_write_X509(file.get(), certificate.get()) == 1;
  if (written && finish(std::move(key_file)) && finish(std::move(file))) return true;
  *problem = "cannot write cert.pem and key.pem into " + folder + ": " + g_strerror(errno);
  g_unlink(key_path(folder).c_str());
  if (key_written) g_unlink(certificate_path(folder).c_str());
  return false;
}

Certificate read_certificate(const std::string& folder) {
  const File file(fopen(certificate_path(folder).c_str(), "r"));
  return Certificate(file ? PEM_read_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
}

}  // namespace

bool ensure_certificate(const std::string& folder, const std::string& host, std::string* problem) {
  if (g_mkdir_with_parents(folder.c_str(), 0700) != 0) {
    *problem = "cannot make the folder " + folder + " for a certificate: " + g_strerror(errno);
    return false;
  }
  const Lock lock(folder);
  const bool has_certificate = exists(certificate_path(folder)), has_key = exists(key_path(folder));
  if (has_certificate && has_key) return true;
  if (has_certificate != has_key) {
    *problem = "there is a " + std::string(has_key ? "key.pem" : "cert.pem") + " in " + folder + ", but no " +
               (has_key ? "cert.pem" : "key.pem") + ": add it, or take both away to have new ones made";
    return false;
  }
  return make_both(folder, host, problem);
}

std::string fingerprint(const std::string& folder) {
  const Certificate certificate = read_certificate(folder);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest, &size) != 1) return "";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    char pair[4];
    snprintf(pair, sizeof pair, "%s%02X", i ? ":" : "", digest[i]);
    text += pair;
  }
  return text;
}

bool expired(const std::string& folder) {
  const Certificate certificate = read_certificate(folder);
  return certificate && X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0;
}

}  // namespace server
