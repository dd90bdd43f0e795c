// SPDX-License-Identifier: Apache-2.0

package clean

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestString(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"ASCII", "nginx: worker (1)~", "nginx: worker (1)~"},
		{"other scripts", "сервер-サーバ-شبكة", "сервер-サーバ-شبكة"},
		{"not UTF-8", "e\xff", "e\uFFFD"},
		{"half a character", "caf\xc3", "caf\uFFFD"},
		{"each byte", "\xff\xfe", "\uFFFD\uFFFD"},
		{"a surrogate", "\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},
		{"line feed", "sshd\nroot", "sshd\uFFFDroot"},
		{"tab, NUL and DEL", "a\tb\x00c\x7f", "a\uFFFDb\uFFFDc\uFFFD"},
		{"escape", "\x1b[2J\a", "\uFFFD[2J\uFFFD"},
		{"C1", "a\u009b31m", "a\uFFFD31m"},
		{"direction", "\u202egnp.exe\u2066\u200f", "\uFFFDgnp.exe\uFFFD\uFFFD"},
		{"no width", "ss\u200bhd\ufeff", "ss\uFFFDhd\uFFFD"},
		{"line separators", "a\u2028b\u2029", "a\uFFFDb\uFFFD"},
		{"other spaces", "a\u00a0b\u3000", "a\uFFFDb\uFFFD"},
		{"tags", "a\U000e0041", "a\uFFFD"},
		{"as long as allowed", strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{"too long", strings.Repeat("x", 256), strings.Repeat("x", 252) + "…"},
		{"too long when replaced", strings.Repeat("\n", 86), strings.Repeat("\uFFFD", 84) + "…"},
	} {
		assert.Equal(t, test.want, String(test.in), test.name)
		assert.Equal(t, test.want, String(String(test.in)), "%s again", test.name)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "attach to e\uFFFD: no\n\tlink\n", Text("attach to e\xff: no\n\tlink\n"))
	assert.Equal(t, "a\n\tb", Text("a\n\tb"))
	long := strings.Repeat("x", 1000)
	assert.Equal(t, long, Text(long))
}

func TestCleanStringsAreNotCopied(t *testing.T) {
	for _, s := range []string{"eth0", "nginx", "サーバ"} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { String(s) }))
	}
}

func FuzzString(f *testing.F) {
	f.Add("nginx")
	f.Add("e\xff\n\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := String(s)
		require.LessOrEqual(t, len(got), MaxBytes)
		require.True(t, utf8.ValidString(got))
		for _, r := range got {
			require.True(t, unicode.IsPrint(r))
		}
		require.True(t, utf8.ValidString(Text(s)))
	})
}

func BenchmarkString(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		String("nginx-worker")
	}
}

// TestAppend: text of bytes is cleaned like strings.
func TestAppend(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for _, text := range []string{
		"", "plain", "ä", "\xff", "a\xffb", "e\xff\nFORGED \x1b[2J\a\x00\u009b\u202e\u2028", "a\tb", long, long + "\xff",
		strings.Repeat("\xff", 100), strings.Repeat("x", MaxBytes), strings.Repeat("x", MaxBytes+1), strings.Repeat("\x00", MaxBytes),
	} {
		got := string(Append([]byte("before"), []byte(text), MaxBytes))
		require.Equal(t, "before"+String(text), got, "%q", text)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	to, text := make([]byte, 0, 512), []byte("a\xffb\u202e and more")
	require.Zero(t, testing.AllocsPerRun(100, func() { Append(to, text, MaxBytes) }))
}
