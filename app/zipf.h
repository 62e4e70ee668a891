/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Places by Zipf's law: of n places the k-th most popular one is chosen with a probability
 * proportional to 1 / k^theta.
 *
 * By rejection-inversion (W. Hormann and G. Derflinger, "Rejection-inversion to generate variates
 * from monotone discrete distributions", 1996): the area under x^-theta, which has an inverse in
 * closed form, is drawn from instead of the sum, and the few numbers that lie beside their bar are
 * drawn again. So theta may be any positive number, 1 included, setting up takes no time however
 * large n is, and a number costs one power, seldom more: whether one of the popular ranks is to be
 * kept stands in a table.
 *
 * What is popular must not lie side by side, or it would be one hot stripe of the disk: rank k is at
 * place (k * stride) mod n, with stride close to the golden section of n and without a common
 * divisor. Each rank has a place of its own, and neighbours in rank are far apart.
 */
#ifndef APP_ZIPF_H
#define APP_ZIPF_H

#include <stdint.h>

#define ZIPF_TABLE 256

struct zipf {
	uint64_t n, stride;
	double theta, rest, inverse; /* rest: 1 - theta; inverse: 1 / rest */
	double low, width;	     /* of what is drawn from; width for a step of 2^-53 */
	double last;		     /* n */
	double sure;		     /* a rank at most so far above its number is always kept */
	double keep[ZIPF_TABLE];     /* by rank - 1: kept from here on */
};

/* n from 1 to 2^63, theta > 0. */
void zipf_init(struct zipf *z, uint64_t n, double theta);

/*
 * The next rank, 0 the most popular, from a 64-bit random number that is taken on to further ones
 * when needed, by the generator of perf_io.h.
 */
uint64_t zipf_rank(const struct zipf *z, uint64_t *random);

/* Where a rank lies. */
static inline uint64_t zipf_place(const struct zipf *z, uint64_t rank)
{
	if (__builtin_expect(z->n <= UINT32_MAX, 1))
		return rank * z->stride % z->n;
	return (uint64_t)((unsigned __int128)rank * z->stride % z->n);
}

#endif
