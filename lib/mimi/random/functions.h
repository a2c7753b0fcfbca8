// SPDX-License-Identifier: MIT
// Elementary functions of additions, multiplications, divisions and bits alone. The C library's differ in the last
// bit from version to version, which would change every model made from a seed.
#pragma once

namespace moshi::mimi::random {

double exponential(double x);
double logarithm(double x);  ///< x > 0 and normal
double sine(double x);       ///< |x| up to about 1e6
double cosine(double x);
double error_function(double x);  ///< within 2e-7

}  // namespace moshi::mimi::random
