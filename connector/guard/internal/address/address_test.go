// SPDX-License-Identifier: Apache-2.0

package address

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEverySpellingIsOneKey: whoever bans one spelling means the address.
func TestEverySpellingIsOneKey(t *testing.T) {
	for want, spellings := range map[string][]string{
		"198.51.100.7/32": {
			"198.51.100.7", "198.51.100.7/32", "::ffff:198.51.100.7", "::FFFF:198.51.100.7", "::ffff:c633:6407",
			"0:0:0:0:0:ffff:c633:6407", "::ffff:198.51.100.7/128",
		},
		"198.51.100.0/24": {"198.51.100.0/24", "198.51.100.77/24", "::ffff:198.51.100.9/120"},
		"2001:db8::1/128": {"2001:db8::1", "2001:0DB8:0000:0000:0000:0000:0000:0001", "2001:db8:0:0::1", "2001:db8::0.0.0.1", "2001:DB8::1/128"},
		"2001:db8::/32":   {"2001:db8::/32", "2001:db8:ffff::1/32"},
		"0.0.0.0/0":       {"0.0.0.0/0", "9.9.9.9/0", "::ffff:0.0.0.0/96"},
		"::/0":            {"::/0", "2001::/0"},
	} {
		for _, text := range spellings {
			got, err := Parse(text)
			require.NoError(t, err, text)
			assert.Equal(t, netip.MustParsePrefix(want), got, text)
		}
	}
}

func TestWhatIsNoAddress(t *testing.T) {
	for text, want := range map[string]error{
		"": ErrSyntax, "localhost": ErrSyntax, "198.51.100": ErrSyntax, "198.051.100.7": ErrSyntax, "198.51.100.7:80": ErrSyntax,
		"198.51.100.0/33": ErrSyntax, "198.51.100.0/": ErrSyntax, "198.51.100.0/255.255.255.0": ErrSyntax, "10.0.0.0/08": ErrSyntax,
		"fe80::1%eth0": ErrZone, "fe80::/64%eth0": ErrZone, "::ffff:0.0.0.0/80": ErrBits,
	} {
		_, err := Parse(text)
		assert.ErrorIs(t, err, want, text)
	}
	_, err := Canonical(netip.Prefix{})
	assert.ErrorIs(t, err, ErrSyntax)
}

func TestOf(t *testing.T) {
	assert.Equal(t, netip.MustParsePrefix("198.51.100.7/32"), Of(netip.MustParseAddr("::ffff:198.51.100.7")))
	assert.Equal(t, netip.MustParsePrefix("fe80::1/128"), Of(netip.MustParseAddr("fe80::1%eth0")))
	assert.False(t, Of(netip.Addr{}).IsValid())
	assert.True(t, IsSingle(netip.MustParsePrefix("2001:db8::1/128")))
	assert.False(t, IsSingle(netip.MustParsePrefix("2001:db8::/64")))
	assert.False(t, IsSingle(netip.Prefix{}))
}

// FuzzParse: what is accepted has one form, and is read the same again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"198.51.100.7", "::ffff:1.2.3.4/120", "2001:db8::/32", "fe80::1%x", "0.0.0.0/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		prefix, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(prefix.String())
		if err != nil || again != prefix || prefix.Masked() != prefix || prefix.Addr().Is4In6() {
			t.Fatalf("%q became %s, then %s (%v)", text, prefix, again, err)
		}
	})
}
