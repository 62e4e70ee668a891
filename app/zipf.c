/* SPDX-License-Identifier: BSD-3-Clause */
#include "zipf.h"

#include <math.h>

#include "random.h"

/* The area under x^-theta up to x, but for a constant. */
static double area(const struct zipf *z, double x)
{
	return z->rest == 0 ? log(x) : (pow(x, z->rest) - 1) * z->inverse;
}

/* The x up to which there is this area. */
static double inverse_area(const struct zipf *z, double a)
{
	if (z->rest == 0)
		return exp(a);
	double base = 1 + a * z->rest;
	return base > 0 ? pow(base, z->inverse) : HUGE_VAL; /* rounded off at the far end */
}

/* Of the area above rank k's bar: what lies from here on belongs to it. */
static double keep_from(const struct zipf *z, double k)
{
	return area(z, k + 0.5) - pow(k, -z->theta);
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

void zipf_init(struct zipf *z, uint64_t n, double theta)
{
	z->n = n;
	z->theta = theta;
	z->rest = fabs(1 - theta) < 1e-9 ? 0 : 1 - theta; /* there the power would cancel out */
	z->inverse = z->rest == 0 ? 0 : 1 / z->rest;
	z->low = area(z, 1.5) - 1;
	z->last = (double)n;
	z->width = (area(z, z->last + 0.5) - z->low) * 0x1p-53;
	z->sure = 2 - inverse_area(z, keep_from(z, 2));
	for (unsigned int i = 0; i < ZIPF_TABLE; i++)
		z->keep[i] = keep_from(z, i + 1);
	z->stride = (uint64_t)((double)n * 0.6180339887498949);
	if (z->stride == 0)
		z->stride = 1;
	while (common_divisor(z->stride, n) != 1)
		z->stride++;
}

uint64_t zipf_rank(const struct zipf *z, uint64_t *random)
{
	for (;;) {
		*random = perf_random(*random);
		double a = z->low + z->width * (double)(int64_t)(*random >> 11);
		double x = inverse_area(z, a);
		/* Signed: the conversions of unsigned numbers take several instructions. */
		int64_t k = x >= z->last ? (int64_t)z->n : x < 1 ? 1 : (int64_t)(x + 0.5);

		if ((double)k - x <= z->sure)
			return (uint64_t)k - 1;
		if (a >= (k <= ZIPF_TABLE ? z->keep[k - 1] : keep_from(z, (double)k)))
			return (uint64_t)k - 1;
	}
}
