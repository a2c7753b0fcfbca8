// SPDX-License-Identifier: MIT
#include "mimi/row_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/error.h"
#include "mimi/seanet_layers.h"
#include "mimi/weights.h"

namespace moshi::mimi {
namespace {

TEST(RowLayout, DefaultEncoder) {
  const RowLayout layout = row_layout(Config{}, Direction::kEncode);
  // One convolution before the levels, two with history in each of the four, one after; eight layers of keys and
  // values; the downsampling.
  ASSERT_EQ(layout.entries.size(), 1u + 8u + 1u + 16u + 1u);
  EXPECT_EQ(layout.entries[0].layer, "encoder.model.0.conv.conv");
  EXPECT_EQ(layout.entries[0].rows, 6);
  EXPECT_EQ(layout.entries[0].width, 1);
  EXPECT_EQ(layout.entries[1].layer, "encoder.model.1.block.1.conv.conv");
  EXPECT_EQ(layout.entries[1].rows, 2);
  EXPECT_EQ(layout.entries[1].width, 64);
  EXPECT_EQ(layout.entries[2].layer, "encoder.model.3.conv.conv");
  EXPECT_EQ(layout.entries[2].rows, 4);
  EXPECT_EQ(layout.entries[10].layer, "encoder_transformer.transformer.layers.0");
  EXPECT_EQ(layout.entries[10].kind, RowEntry::Kind::kKeys);
  EXPECT_EQ(layout.entries[11].kind, RowEntry::Kind::kValues);
  EXPECT_EQ(layout.entries[11].rows, 250);
  EXPECT_EQ(layout.entries[11].width, 512);
  EXPECT_EQ(layout.entries.back().layer, "downsample.conv.conv.conv");
  EXPECT_EQ(layout.entries.back().rows, 2);
}

TEST(RowLayout, DefaultDecoderKeepsInputsOfTransposedConvolutions) {
  const RowLayout layout = row_layout(Config{}, Direction::kDecode);
  EXPECT_EQ(layout.entries.front().layer, "upsample.convtr.convtr.convtr");
  EXPECT_EQ(layout.entries.front().rows, 1);
  EXPECT_EQ(layout.entries.front().width, 512);
  const RowEntry& first_level = layout.entries[layout.index("decoder.model.2.convtr.convtr", RowEntry::Kind::kHistory)];
  EXPECT_EQ(first_level.rows, 1);
  EXPECT_EQ(first_level.width, 1024);
  EXPECT_EQ(layout.entries.back().layer, "decoder.model.14.conv.conv");
}

TEST(RowLayout, DilationWidensTheHistory) {
  Config config;
  config.seanet.n_residual_layers = 3;
  config.seanet.dilation_base = 3;
  const RowLayout layout = row_layout(config, Direction::kEncode);
  const RowEntry& third = layout.entries[layout.index("encoder.model.3.block.1.conv.conv", RowEntry::Kind::kHistory)];
  EXPECT_EQ(third.rows, 2 * 9);
}

TEST(RowLayout, EveryConvolutionIsATensorOfTheModel) {
  Config config;
  config.seanet.n_residual_layers = 2;
  config.seanet.true_skip = false;
  config.seanet.ratios = {10, 8, 6};
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> shapes;
  for (const TensorSpec& spec : expected_tensors(config)) {
    names.push_back(spec.name);
    shapes.push_back(spec.shape);
  }
  std::vector<SeanetLayer> layers = encoder_layers(config.seanet);
  const std::vector<SeanetLayer> of_decoder = decoder_layers(config.seanet);
  layers.insert(layers.end(), of_decoder.begin(), of_decoder.end());
  for (const SeanetLayer& layer : layers) {
    for (const ConvShape& conv : layer.convs) {
      const auto found = std::find(names.begin(), names.end(), conv.name + ".weight");
      ASSERT_NE(found, names.end()) << conv.name;
      const std::vector<int64_t> shape = conv.transposed ? std::vector<int64_t>{conv.in, conv.out, conv.kernel}
                                                         : std::vector<int64_t>{conv.out, conv.in, conv.kernel};
      EXPECT_EQ(shapes[static_cast<size_t>(found - names.begin())], shape) << conv.name;
    }
  }
}

TEST(RowLayout, HeadTellsStatesApart) {
  Config config;
  const RowLayout layout = row_layout(config, Direction::kEncode);
  std::vector<std::byte> saved(layout.saved_bytes());
  write_row_head(layout, 12345, saved.data());
  EXPECT_EQ(read_row_head(layout, saved), 12345);

  const auto refuses = [](const RowLayout& wanted, std::span<const std::byte> in) {
    try {
      read_row_head(wanted, in);
    } catch (const Error& error) {
      return error.status() == MOSHI_ERR_FORMAT;
    }
    return false;
  };
  EXPECT_TRUE(refuses(row_layout(config, Direction::kDecode), saved));
  config.transformer.context = 251;
  EXPECT_TRUE(refuses(row_layout(config, Direction::kEncode), saved));
  EXPECT_TRUE(refuses(layout, std::span(saved).first(saved.size() - 4)));
  EXPECT_TRUE(refuses(layout, std::span(saved).first(7)));
  write_row_head(layout, -1, saved.data());
  EXPECT_TRUE(refuses(layout, saved));
  saved[0] = std::byte{0};
  EXPECT_TRUE(refuses(layout, saved));
}

}  // namespace
}  // namespace moshi::mimi
