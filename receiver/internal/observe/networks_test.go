// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNetworks(t *testing.T) {
	assert.Empty(t, newNetworks(nil).of(netip.MustParseAddr("10.1.2.3")), "not grouped")
	n := newNetworks([]netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8::/32"),
	})
	for client, want := range map[string]string{
		"10.1.2.3": "10.1.0.0/16", "::ffff:10.1.2.3": "10.1.0.0/16", "10.2.0.0": "10.0.0.0/8",
		"2001:db8::1": "2001:db8::/32", "192.0.2.1": "other", "::1": "other",
	} {
		assert.Equal(t, want, n.of(netip.MustParseAddr(client)), client)
	}
}
