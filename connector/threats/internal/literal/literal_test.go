// SPDX-License-Identifier: Apache-2.0

package literal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setOf(t testing.TB, texts ...string) *Set {
	t.Helper()
	var literals []Literal
	for i, text := range texts {
		literals = append(literals, Literal{fmt.Sprint(i), text})
	}
	s, err := New(literals)
	require.NoError(t, err)
	return s
}

func TestFindsOverlappingStrings(t *testing.T) {
	s := setOf(t, "he", "she", "his", "hers", "${jndi:", "../..")
	assert.ElementsMatch(t, []int32{0, 1, 3}, s.Search("uSHErs", nil))
	assert.Equal(t, []int32{4}, s.Search("x=${JNDI:ldap", nil))
	assert.Empty(t, s.Search("", nil))
	assert.Empty(t, s.SearchDecoded("/plain", nil))
	assert.Equal(t, []int32{5}, s.SearchDecoded("/%2e%2E%2f..%2fetc", nil))
	assert.Equal(t, []int32{5}, s.SearchDecoded("%%2e./..%2", nil))
}

// TestAgreesWithStringsContains: random texts over few letters, so that strings overlap often.
func TestAgreesWithStringsContains(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func(least, most int) string {
		b := make([]byte, least+random.IntN(most-least+1))
		for i := range b {
			b[i] = "abAB\x00\xff"[random.IntN(6)]
		}
		return string(b)
	}
	lower := func(s string) string { return strings.Map(func(r rune) rune { return r }, strings.ToLower(s)) }
	for range 300 {
		var texts []string
		for range 1 + random.IntN(12) {
			if one := text(1, 6); !slices.ContainsFunc(texts, func(other string) bool { return strings.EqualFold(one, other) }) {
				texts = append(texts, one)
			}
		}
		s := setOf(t, texts...)
		in := text(0, 60)
		var expected []int32
		for i, one := range texts {
			if strings.Contains(lower(in), lower(one)) {
				expected = append(expected, int32(i))
			}
		}
		assert.ElementsMatch(t, expected, s.Search(in, nil), "%q in %q", texts, in)
	}
}

func TestBounds(t *testing.T) {
	_, err := New([]Literal{{"empty", ""}})
	require.Error(t, err)
	_, err = New([]Literal{{"long", strings.Repeat("a", MaxLength+1)}})
	require.Error(t, err)
	_, err = New(make([]Literal, MaxLiterals+1))
	require.ErrorIs(t, err, ErrLarge)
	random := rand.New(rand.NewPCG(1, 2))
	var many []Literal
	for range 200 {
		b := make([]byte, MaxLength)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		many = append(many, Literal{"random", string(b)})
	}
	_, err = New(many)
	require.ErrorIs(t, err, ErrLarge)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	s := setOf(t, string(every))
	assert.Equal(t, []int32{0}, s.Search("x"+string(every), nil))
	found := setOf(t, strings.Split(strings.Repeat("a,", 1)+"b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t", ",")...).Search("abcdefghijklmnopqrst", nil)
	assert.Len(t, found, MaxFound)
}

func BenchmarkSearch(b *testing.B) {
	var texts []string
	for i := range 1000 {
		texts = append(texts, fmt.Sprintf("signature-%d/%x", i, i*7919))
	}
	s := setOf(b, texts...)
	text := strings.Repeat("/an/ordinary/path?with=a&query=of&some=length ", 20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Search(text, nil)
	}
}
