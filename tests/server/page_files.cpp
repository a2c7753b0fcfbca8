// SPDX-License-Identifier: MIT
// The page in the program, and folders that take its place.
#include "page_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

using server::PageFiles;
namespace files = std::filesystem;

namespace {

std::string text_of(const server::PageFile& file) {
  gsize size = 0;
  const auto* data = static_cast<const char*>(g_bytes_get_data(file.bytes.get(), &size));
  return {data, size};
}

std::string read_all(const files::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    root = files::path(testing::TempDir()) / ("moshi-page-" + std::to_string(getpid()));
    files::create_directories(root / "page" / "sound");
    files::create_directories(root / "page-of-another");
    write("page/index.html", "<p>");
    write("page/sound/a.js", "1");
    write("page/.hidden", "h");
    write("secret.txt", "s");
    write("page-of-another/index.html", "x");
    files::create_symlink(root / "secret.txt", root / "page" / "link.txt");
    files::create_symlink("index.html", root / "page" / "start.html");
  }
  void TearDown() override { files::remove_all(root); }
  void write(const std::string& path, const std::string& text) const { std::ofstream(root / path) << text; }

  files::path root;
};

TEST_F(Folder, GivesItsFiles) {
  const PageFiles page(root / "page");
  EXPECT_EQ(text_of(page.read("/").value()), "<p>");
  EXPECT_EQ(text_of(page.read("/sound/a.js").value()), "1");
  EXPECT_EQ(text_of(page.read("/start.html").value()), "<p>");
  EXPECT_EQ(page.read("/sound/a.js")->type, "text/javascript; charset=utf-8");
}

TEST_F(Folder, IsNotLeft) {
  const PageFiles page(root / "page");
  for (const char* path : {"/../secret.txt", "/sound/../../secret.txt", "/sound/..", "/./index.html", "//etc/passwd",
                           "/..", "/.hidden", "/link.txt", "/sound", "/sound/", "", "index.html", "/none.js",
                           "/..\\secret.txt", "/../page-of-another/index.html", "/index.html/"}) {
    EXPECT_FALSE(page.read(path)) << path;
  }
}

TEST_F(Folder, ItsTagsChangeWithItsFiles) {
  const PageFiles page(root / "page");
  const std::string before = page.read("/")->tag;
  EXPECT_EQ(page.read("/")->tag, before);
  write("page/index.html", "<q>");
  EXPECT_NE(page.read("/")->tag, before);
}

TEST(Page, CanBeNone) {
  EXPECT_TRUE(PageFiles("none").none());
  EXPECT_FALSE(PageFiles("none").read("/"));
}

// Every file of the folder is in the program, and nothing else is: page.gresource.xml is kept by hand.
TEST(Page, IsInTheProgram) {
  const char* folder = g_getenv("MOSHI_TEST_PAGE");
  ASSERT_TRUE(folder);
  const PageFiles page("");
  int count = 0;
  for (const auto& entry : files::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().extension() == ".xml") continue;
    const std::string path = std::string("/").append(files::relative(entry.path(), folder).string());
    const auto file = page.read(path);
    ASSERT_TRUE(file) << path << " is not in page.gresource.xml";
    EXPECT_EQ(text_of(*file), read_all(entry.path())) << path;
    EXPECT_NE(file->type, "application/octet-stream") << path;
    ++count;
  }
  EXPECT_GT(count, 3);
}

TEST(Page, Types) {
  EXPECT_EQ(server::content_type("/index.html"), "text/html; charset=utf-8");
  EXPECT_EQ(server::content_type("/manifest.webmanifest"), "application/manifest+json");
  EXPECT_EQ(server::content_type("/x"), "application/octet-stream");
}

}  // namespace
