// SPDX-License-Identifier: MIT
#include "lm/layers.h"

namespace moshi::lm {
namespace {

kernels::Gate gate_of(Gating gating) {
  switch (gating) {
    case Gating::kGelu:
      return kernels::Gate::kGelu;
    case Gating::kSigmoid:
      return kernels::Gate::kSigmoid;
    case Gating::kTanh:
      return kernels::Gate::kTanh;
    case Gating::kRelu:
      return kernels::Gate::kRelu;
    case Gating::kLeakyRelu:
      return kernels::Gate::kLeakyRelu;
    case Gating::kElu:
      return kernels::Gate::kElu;
    case Gating::kMish:
      return kernels::Gate::kMish;
    case Gating::kSoftsign:
      return kernels::Gate::kSoftsign;
    case Gating::kIdentity:
      return kernels::Gate::kIdentity;
    case Gating::kSilu:
    case Gating::kNone:
      break;
  }
  return kernels::Gate::kSilu;
}

}  // namespace

void multiply(Workspace& work, int rows, RowBlock in, kernels::GemmCall call, RowBlock out, const RowBlock* residual) {
  nn::RowLists& lists = work.context.rows;
  lists.a.clear();
  lists.out.clear();
  lists.residual.clear();
  for (int row = 0; row < rows; ++row) {
    lists.a.push_back(in.row(row));
    lists.out.push_back(out.row(row));
    if (residual) lists.residual.push_back(residual->row(row));
  }
  call.rows = rows;
  call.a = lists.a.data();
  call.out = lists.out.data();
  call.residual = residual ? lists.residual.data() : nullptr;
  kernels::run_gemm(work.context.pool, work.context.kernels, call);
}

void LinearLayer::load(LayerLoader& loader, const std::string& name) {
  packed_ = loader.linear(name);
  bias_ = loader.vector_if_there(name + ".bias");
}

void LinearLayer::apply(Workspace& work, int rows, RowBlock in, RowBlock out, const Finish& finish) const {
  if (packed_.down.n > 0) {
    apply_with_lora(work, rows, in, out, finish);
    return;
  }
  multiply(work, rows, in, {.b = packed_.weight, .bias = bias_, .scale = finish.scale, .activation = finish.activation},
           out, finish.add ? &out : nullptr);
}

void LinearLayer::apply_with_lora(Workspace& work, int rows, RowBlock in, RowBlock out, const Finish& finish) const {
  const int rank = packed_.down.n;
  nn::grow(work.low, static_cast<size_t>(rows) * rank);
  nn::grow(work.sum, static_cast<size_t>(rows) * this->out());
  const RowBlock low{work.low.data(), rank};
  const RowBlock sum{work.sum.data(), this->out()};
  multiply(work, rows, in, {.b = packed_.down}, low, nullptr);
  multiply(work, rows, low, {.b = packed_.up, .scale = packed_.scaling}, sum, nullptr);
  multiply(work, rows, in, {.b = packed_.weight, .bias = bias_}, sum, &sum);
  if (finish.activation == kernels::Activation::kGelu && static_cast<int>(work.ones.size()) < this->out()) {
    work.ones.resize(this->out(), 1.0f);
  }
  for (int row = 0; row < rows; ++row) {
    float* from = sum.row(row);
    if (finish.activation == kernels::Activation::kGelu) {
      work.context.kernels.gate(kernels::Gate::kGelu, from, work.ones.data(), from, this->out());
    }
    float* to = out.row(row);
    for (int i = 0; i < this->out(); ++i) {
      const float value = finish.scale ? from[i] * finish.scale[i] : from[i];
      to[i] = finish.add ? to[i] + value : value;
    }
  }
}

void NormLayer::load(LayerLoader& loader, const std::string& name, Norm norm, int width) {
  norm_ = norm;
  width_ = width;
  if (norm == Norm::kLayerNorm || norm == Norm::kLayerNormF32) {
    weight_ = loader.vector(name + ".weight");
    bias_ = loader.vector(name + ".bias");
  } else {
    weight_ = loader.vector(name + ".alpha");
  }
}

void NormLayer::apply(const kernels::Kernels& kernels, const float* x, float* y) const {
  const bool exact = norm_ == Norm::kLayerNormF32 || norm_ == Norm::kRmsNormF32;
  const float eps = exact ? 1e-8f : 1e-5f;
  if (bias_) {
    kernels.layer_norm(x, weight_, bias_, y, width_, eps);
  } else {
    kernels.rms_norm(x, weight_, y, width_, eps);
  }
}

void FeedForward::load(LayerLoader& loader, const std::string& name, Gating gating, int hidden, int index) {
  gating_ = gating;
  hidden_ = hidden;
  if (gating == Gating::kNone) {
    first_.load(loader, name + ".linear1");
    second_.load(loader, name + ".linear2");
    return;
  }
  std::string gate = name + ".gating";
  if (index >= 0) gate.append(".").append(std::to_string(index));
  first_.load(loader, gate + ".linear_in");
  second_.load(loader, gate + ".linear_out");
}

void FeedForward::apply(Workspace& work, int rows, RowBlock normed, RowBlock x, const float* scale,
                        float* scratch) const {
  if (gating_ == Gating::kNone) {
    const RowBlock inner{scratch, hidden_};
    first_.apply(work, rows, normed, inner, {.activation = kernels::Activation::kGelu});
    second_.apply(work, rows, inner, x, {.scale = scale, .add = true});
    return;
  }
  const RowBlock both{scratch, 2 * hidden_};
  first_.apply(work, rows, normed, both);
  const kernels::Gate gate = gate_of(gating_);
  for (int row = 0; row < rows; ++row) {
    float* values = both.row(row);
    work.context.kernels.gate(gate, values, values + hidden_, values, hidden_);
  }
  second_.apply(work, rows, both, x, {.scale = scale, .add = true});
}

}  // namespace moshi::lm
