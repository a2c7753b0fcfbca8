// SPDX-License-Identifier: MIT
// Certificates that are made at the start.
#include "certificate.h"

#include <gio/gio.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "../../examples/app.h"

namespace files = std::filesystem;

namespace {

using Certificate = std::unique_ptr<GTlsCertificate, app::Deleter<g_object_unref>>;

class MadeCertificate : public testing::Test {
 protected:
  void SetUp() override {
    root = files::path(testing::TempDir()) / ("moshi-tls-" + std::to_string(getpid()));
    folder = (root / "a" / "tls").string();
  }
  void TearDown() override { files::remove_all(root); }

  Certificate load() const {
    return Certificate(
        g_tls_certificate_new_from_files((folder + "/cert.pem").c_str(), (folder + "/key.pem").c_str(), nullptr));
  }
  static bool holds_for(GTlsCertificate* certificate, GSocketConnectable* identity) {
    const std::unique_ptr<GSocketConnectable, app::Deleter<g_object_unref>> owned(identity);
    // Nobody has signed it but itself; of all else nothing is wrong.
    return g_tls_certificate_verify(certificate, identity, certificate) == 0;
  }

  files::path root;
  std::string folder, problem;
};

TEST_F(MadeCertificate, IsForThisMachine) {
  ASSERT_TRUE(server::ensure_certificate(folder, "moshi.example.org", &problem)) << problem;
  const Certificate certificate = load();
  ASSERT_TRUE(certificate);
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  for (const char* host : {"localhost", "moshi.example.org", static_cast<const char*>(name)})
    EXPECT_TRUE(holds_for(certificate.get(), g_network_address_new(host, 443))) << host;
  EXPECT_FALSE(holds_for(certificate.get(), g_network_address_new("other.example.org", 443)));
  for (const char* address : {"127.0.0.1", "::1"})
    EXPECT_TRUE(holds_for(certificate.get(), g_network_address_new(address, 443))) << address;
  EXPECT_FALSE(server::expired(folder));
}

TEST_F(MadeCertificate, TakesAddressesAndStrangeHosts) {
  for (const char* host : {"192.0.2.7", "2001:db8::1", "0.0.0.0", "::", "a,DNS:evil.example", "fe80::1%eth0", ""}) {
    files::remove_all(root);
    ASSERT_TRUE(server::ensure_certificate(folder, host, &problem)) << host << ": " << problem;
    const Certificate certificate = load();
    ASSERT_TRUE(certificate) << host;
    EXPECT_FALSE(holds_for(certificate.get(), g_network_address_new("evil.example", 443)));
  }
}

TEST_F(MadeCertificate, ItsKeyIsTheOwnersAlone) {
  ASSERT_TRUE(server::ensure_certificate(folder, "localhost", &problem)) << problem;
  struct stat facts {};
  ASSERT_EQ(stat((folder + "/key.pem").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600u);
}

TEST_F(MadeCertificate, IsKept) {
  ASSERT_TRUE(server::ensure_certificate(folder, "localhost", &problem)) << problem;
  const std::string before = server::fingerprint(folder);
  ASSERT_TRUE(server::ensure_certificate(folder, "localhost", &problem)) << problem;
  EXPECT_EQ(server::fingerprint(folder), before);
  EXPECT_EQ(before.size(), 32u * 3 - 1) << before;
}

TEST_F(MadeCertificate, ServersThatStartTogetherHaveTheSame) {
  for (int round = 0; round < 20; ++round) {
    files::remove_all(root);
    constexpr size_t kMany = 6;
    std::string problems[kMany], fingerprints[kMany];
    {
      std::vector<std::jthread> servers;
      for (size_t i = 0; i < kMany; ++i)
        servers.emplace_back([&, i] {
          if (server::ensure_certificate(folder, "localhost", &problems[i]))
            fingerprints[i] = server::fingerprint(folder);
        });
    }
    ASSERT_TRUE(load()) << "one's certificate with another's key";
    for (size_t i = 0; i < kMany; ++i) {
      EXPECT_EQ(problems[i], "");
      EXPECT_EQ(fingerprints[i], server::fingerprint(folder));
    }
  }
}

TEST_F(MadeCertificate, HalfOfOneIsNotReplaced) {
  ASSERT_TRUE(server::ensure_certificate(folder, "localhost", &problem)) << problem;
  files::remove(folder + "/cert.pem");
  EXPECT_FALSE(server::ensure_certificate(folder, "localhost", &problem));
  EXPECT_NE(problem.find("cert.pem"), std::string::npos) << problem;
  EXPECT_TRUE(files::exists(folder + "/key.pem"));
  EXPECT_EQ(server::fingerprint(folder), "");
}

TEST_F(MadeCertificate, AFolderThatCannotBe) {
  files::create_directories(root);
  std::ofstream(root / "a") << "a file";
  EXPECT_FALSE(server::ensure_certificate(folder, "localhost", &problem));
  EXPECT_NE(problem.find(folder), std::string::npos) << problem;
}

}  // namespace
