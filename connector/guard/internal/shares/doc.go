// SPDX-License-Identifier: Apache-2.0

// Package shares tells sources that stand for many from those that stand for one. Behind one address
// there may be a proxy, a load balancer, a cluster's SNAT or a carrier's NAT. A block of it hits
// everybody behind it, and a rule that found one attacker there does not know that.
//
// It learns from records of the receiver about connections that ended, or about sources. All
// that it keeps is bounded, and times are since boot.
package shares
