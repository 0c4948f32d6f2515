package fib

import "math"

// MaxWeight is the greatest weight that [Weights] returns: the greatest of a next hop in a group
// before Linux 6.12, which refuses 256 (nh_check_attr_group in net/ipv4/nexthop.c).
const MaxWeight = 255

// Weights returns weights for the next hops of a route, in proportion to the shares of traffic
// that they are to get, such as bandwidths; the unit is of no matter. If one of the shares is
// not a positive finite number, or there is one only, all weights are 1: equal shares, as
// draft-ietf-idr-link-bandwidth recommends where a path says nothing. The result has
// the order of shares and aliases nothing.
//
// The kernel has weights of 1 to 255. The greatest share gets some weight between 128 and 255,
// that for which the worst of the others is off least, and each other one what is next to its
// proportion, but 1 at least. If the least share is x times the greatest, no share is off by more
// than 1/(2·255·x) of itself: by 2 % at most if the least is a tenth of the greatest, and proportions
// of small numbers, such as 1:3 or 10:25:40, are exact. Shares that are less than 1/510 of the
// greatest do not count in this: they get more than they ask for. Weights are divided by their
// greatest common divisor.
func Weights(shares []float64) []uint16 {
	weights := make([]uint16, len(shares))
	greatest, equal := 0.0, true
	for i, s := range shares {
		weights[i] = 1
		if !(s > 0) || math.IsInf(s, 0) {
			greatest, equal = 0, true
			break
		}
		greatest, equal = max(greatest, s), equal && s == shares[0]
	}
	if equal {
		for i := range weights {
			weights[i] = 1
		}
		return weights
	}
	scale, least := 0.0, math.Inf(1)
	for m := float64(MaxWeight); m > MaxWeight/2; m-- {
		if off := worst(shares, m/greatest, least-1e-9); off < least-1e-9 {
			scale, least = m/greatest, off
		}
	}
	divisor := 0
	for i, s := range shares {
		weights[i] = weight(s, scale)
		for a, b := divisor, int(weights[i]); ; a, b = b, a%b {
			if b == 0 {
				divisor = a
				break
			}
		}
	}
	for i := range weights {
		weights[i] /= uint16(divisor)
	}
	return weights
}

// weight returns the weight of a share.
func weight(share, scale float64) uint16 { return uint16(max(1, math.Round(share*scale))) }

// worst returns by how much the share that is off most is off, as a part of itself. Those that get
// 1 because there is nothing less are left out, and it ends when enough is reached.
func worst(shares []float64, scale, enough float64) (off float64) {
	for _, s := range shares {
		if off >= enough {
			break
		}
		if exact := s * scale; exact >= .5 {
			off = max(off, math.Abs(float64(weight(s, scale))/exact-1))
		}
	}
	return off
}
