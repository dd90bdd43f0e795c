// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const start = time.Hour

func read(t *testing.T, text string) parsed {
	t.Helper()
	out, err := parse(strings.NewReader(text), "list", DefaultLimits(), DefaultPolicy(nil).Refuse)
	require.NoError(t, err)
	return out
}

func TestWhatALineMayBe(t *testing.T) {
	out := read(t, "\xef\xbb\xbf198.51.100.7\r\n\r\n# comment\r\n  2001:db8::/32\t# from the\x1b abuse desk\r\n::ffff:198.51.100.8 600\n198.51.100.9/24 2h ; x\n198.51.100.9 1d;\n")
	assert.Empty(t, out.faults)
	assert.Equal(t, []line{
		{netip.MustParsePrefix("198.51.100.7/32"), 0, 1, ""},
		{netip.MustParsePrefix("2001:db8::/32"), 0, 4, "from the� abuse desk"},
		{netip.MustParsePrefix("198.51.100.8/32"), 10 * time.Minute, 5, ""},
		{netip.MustParsePrefix("198.51.100.0/24"), 2 * time.Hour, 6, "x"},
		{netip.MustParsePrefix("198.51.100.9/32"), 24 * time.Hour, 7, ""},
	}, out.entries)
}

// TestJunkIsToldAndTheRestIsRead: with file and line, and not all of a thousand.
func TestJunkIsToldAndTheRestIsRead(t *testing.T) {
	junk := []string{
		"localhost", "198.51.100", "198.051.100.1", "198.51.100.1:22", "198.51.100.1 soon", "198.51.100.1 0", "198.51.100.1 -5", "198.51.100.1 5 5", "0.0.0.0/0",
		"::/0", "fe80::1%eth0", "deny from 1.2.3.4", "\x00\x00", strings.Repeat("1", 5000), "198.51.100.1/33", "<html>", "198.51.100.1,US",
	}
	for _, bad := range junk {
		out := read(t, "198.51.100.1\n"+bad+"\n198.51.100.2\n")
		assert.Len(t, out.entries, 2, bad)
		if assert.Len(t, out.faults, 1, bad) {
			assert.Equal(t, 2, out.faults[0].Line)
			assert.LessOrEqual(t, len(out.faults[0].String()), 200)
			assert.Contains(t, out.faults[0].String(), "list:2: ")
		}
	}
	out := read(t, strings.Repeat("junk\n", 1000)+"198.51.100.2\n")
	assert.Len(t, out.entries, 1)
	assert.Len(t, out.faults, DefaultLimits().Faults)
	assert.Equal(t, 990, out.untold)
}

func TestBounds(t *testing.T) {
	limits := Limits{Bytes: 100, Entries: 3, Faults: 5}
	out, err := parse(strings.NewReader("10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n"), "list", limits, nil)
	require.NoError(t, err)
	assert.Len(t, out.entries, 3)
	assert.Contains(t, out.faults[0].String(), "more than 3 entries")
	out, err = parse(strings.NewReader(strings.Repeat("#\n", 100)), "list", limits, nil)
	require.NoError(t, err)
	assert.Contains(t, out.faults[0].String(), "longer than 100 bytes")
}

// TestNobodyIsCutOffByAList: by what lists from the internet contain.
func TestNobodyIsCutOffByAList(t *testing.T) {
	p := DefaultPolicy(func() []netip.Prefix {
		return []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("203.0.113.9/32")}
	})
	for text, refused := range map[string]bool{
		"0.0.0.0/0": true, "128.0.0.0/1": true, "::/0": true, "10.0.0.0/8": true, "10.1.2.0/24": true, "2001:db8::/32": true,
		"10.1.2.128/25": false, "10.1.2.7/32": false, "11.0.0.0/8": false, "203.0.113.0/24": false, "203.0.113.9/32": false, "2001:db8:2::/48": false,
	} {
		assert.Equal(t, refused, p.Refuse(netip.MustParsePrefix(text)) != "", text)
	}
}

// FuzzParse: no file makes it fail, and what it accepts is bounded and canonical.
func FuzzParse(f *testing.F) {
	f.Add([]byte("198.51.100.7 600 # x\r\n2001:db8::/32\njunk\n10.0.0.1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{Bytes: 4096, Entries: 20, Faults: 3}
		out, err := parse(bytes.NewReader(data), "list", limits, DefaultPolicy(nil).Refuse)
		if err != nil || len(out.entries) > 20 || len(out.faults) > 3 {
			t.Fatal(err, len(out.entries), len(out.faults))
		}
		for _, e := range out.entries {
			if e.prefix != e.prefix.Masked() || e.ttl < 0 || e.ttl > maxTTL || len(e.reason) > 255 {
				t.Fatal(e)
			}
		}
		for _, fault := range out.faults {
			if strings.ContainsAny(fault.String(), "\n\x1b") {
				t.Fatal(fault)
			}
		}
	})
}

// shelf is a folder of lists, with a watcher.
type shelf struct {
	*testing.T
	folder string
	w      *Watcher
	now    time.Duration
	wall   time.Time
}

func newShelf(t *testing.T, patterns ...string) *shelf {
	s := &shelf{T: t, folder: t.TempDir(), now: start, wall: time.Now()}
	for i := range patterns {
		patterns[i] = filepath.Join(s.folder, patterns[i])
	}
	require.NoError(t, Validate(patterns))
	s.w = New(Settings{Patterns: patterns, Limits: DefaultLimits(), Refuse: DefaultPolicy(nil).Refuse})
	return s
}

func (s *shelf) path(name string) string { return filepath.Join(s.folder, name) }

// write writes in place, as of now.
func (s *shelf) write(name, text string) {
	require.NoError(s, os.WriteFile(s.path(name), []byte(text), 0o600))
	require.NoError(s, os.Chtimes(s.path(name), s.wall, s.wall))
}

// replace puts a whole file in the place of another.
func (s *shelf) replace(name, text string) {
	s.write(".new", text)
	require.NoError(s, os.Rename(s.path(".new"), s.path(name)))
}

func (s *shelf) after(d time.Duration) []Update {
	s.now += d
	s.wall = s.wall.Add(d)
	return s.w.Poll(s.now, s.wall)
}

// one returns the entries of the only update.
func (s *shelf) one(d time.Duration) []string {
	s.Helper()
	updates := s.after(d)
	require.Len(s, updates, 1)
	return texts(updates[0])
}

func texts(u Update) []string {
	all := []string{}
	for _, e := range u.Entries {
		all = append(all, e.Prefix.String())
	}
	return all
}

// TestAFilesLife: it comes after the pattern, changes, and goes.
func TestAFilesLife(t *testing.T) {
	s := newShelf(t, "block.d/*")
	assert.Empty(t, s.after(time.Second), "nothing matches yet")
	require.NoError(t, os.Mkdir(s.path("block.d"), 0o700))
	s.write("block.d/mine", "198.51.100.7\n198.51.100.8\n")
	assert.Equal(t, []string{"198.51.100.7/32", "198.51.100.8/32"}, s.one(time.Second))
	s.after(3 * time.Second)
	assert.Empty(t, s.after(time.Second), "nothing changed")
	s.write("block.d/mine", "198.51.100.7\n198.51.100.9\n")
	assert.Equal(t, []string{"198.51.100.7/32", "198.51.100.8/32", "198.51.100.9/32"}, s.one(0), "it may be half written")
	assert.Equal(t, []string{"198.51.100.7/32", "198.51.100.9/32"}, s.one(3*time.Second))
	require.NoError(t, os.Remove(s.path("block.d/mine")))
	assert.Empty(t, s.after(time.Second))
	gone := s.after(time.Second)
	require.Len(t, gone, 1)
	assert.True(t, gone[0].Gone)
	assert.Empty(t, s.after(time.Second))
}

func TestAReplacedFileCountsAtOnce(t *testing.T) {
	s := newShelf(t, "list")
	s.write("list", "198.51.100.7\n")
	s.one(0)
	s.replace("list", "198.51.100.8")
	assert.Equal(t, []string{"198.51.100.8/32"}, s.one(0), "whole, without a line feed")
}

// TestAHalfWrittenFile lifts nothing and blocks nobody else.
func TestAHalfWrittenFile(t *testing.T) {
	s := newShelf(t, "list")
	whole := "198.51.100.77\n203.0.113.200\n"
	s.write("list", whole)
	require.Len(t, s.one(0), 2)
	for cut := range len(whole) {
		s.write("list", whole[:cut])
		for _, u := range s.after(50 * time.Millisecond) {
			assert.ElementsMatch(t, []string{"198.51.100.77/32", "203.0.113.200/32"}, texts(u), whole[:cut])
		}
	}
	s.write("list", whole)
	s.after(0)
	for _, u := range s.after(5 * time.Second) {
		assert.Len(t, u.Entries, 2)
	}
	// A last line without an end counts when nobody writes any more.
	s.write("list", whole+"203.0.113.9")
	assert.Empty(t, s.after(0))
	assert.Len(t, s.one(5*time.Second), 3)
}

// TestInPlaceForEver: what is gone is gone after a while, even if the file never settles.
func TestInPlaceForEver(t *testing.T) {
	s := newShelf(t, "list")
	s.write("list", "198.51.100.7\n198.51.100.8\n")
	s.one(0)
	var last Update
	for range 50 {
		s.write("list", "198.51.100.7\n")
		for _, u := range s.after(100 * time.Millisecond) {
			last = u
		}
	}
	assert.Equal(t, []string{"198.51.100.7/32"}, texts(last))
}

func TestTimes(t *testing.T) {
	s := newShelf(t, "list")
	s.write("list", "198.51.100.7 60\n198.51.100.8\n198.51.100.7\t30s\n")
	u := s.after(10 * time.Second)
	require.Len(t, u, 1)
	assert.Equal(t, s.now+50*time.Second, u[0].Entries[0].Until, "a restart gives no more time")
	assert.Equal(t, Forever, u[0].Entries[1].Until)
	until := u[0].Entries[0].Until
	s.after(3 * time.Second)
	s.replace("list", "198.51.100.8\n198.51.100.7 30\n198.51.100.7 60\n203.0.113.1 60\n")
	u = s.after(0)
	require.Len(t, u, 1)
	assert.Equal(t, until, u[0].Entries[1].Until, "a line that was there before gets no more time")
	assert.Equal(t, s.now+time.Minute, u[0].Entries[2].Until)
	s.replace("list", "198.51.100.8\n198.51.100.7 60\n198.51.100.7 60\n198.51.100.7 60\n")
	u = s.after(2 * time.Minute)
	require.Len(t, u, 1)
	assert.Equal(t, s.now+time.Minute, u[0].Entries[1].Until, "one more line is one more ban")
	assert.Empty(t, s.after(10*time.Minute))
	s.replace("list", "198.51.100.8\n198.51.100.7 60\n")
	for _, u := range s.after(0) {
		assert.Equal(t, []string{"198.51.100.8/32"}, texts(u), "its time was over")
	}
}

func TestFilesThatAreNotRead(t *testing.T) {
	s := newShelf(t, "block.d/*", "block.d/l*")
	require.NoError(t, os.MkdirAll(s.path("block.d/folder"), 0o700))
	require.NoError(t, syscall.Mkfifo(s.path("block.d/pipe"), 0o600))
	for _, name := range []string{".hidden", "list~", "list.tmp", "list.dpkg-new", "#list#"} {
		s.write("block.d/"+name, "198.51.100.1\n")
	}
	s.write("block.d/list", "198.51.100.7\n")
	s.write("block.d/open", "198.51.100.8\n")
	require.NoError(t, os.Chmod(s.path("block.d/open"), 0o666))
	told := map[string]string{}
	for _, u := range s.after(5 * time.Second) {
		name := filepath.Base(u.File)
		for _, f := range u.Faults {
			told[name] = f.Reason
			assert.Empty(t, u.Entries)
		}
		if name == "list" {
			assert.Equal(t, []string{"198.51.100.7/32"}, texts(u))
		}
	}
	assert.Equal(t, map[string]string{"folder": "not a regular file", "pipe": "not a regular file", "open": "everybody may write it"}, told)
	assert.Empty(t, s.after(time.Second), "told once")
	require.NoError(t, os.Chmod(s.path("block.d/open"), 0o600))
	assert.Equal(t, []string{"198.51.100.8/32"}, s.one(time.Second))
	require.NoError(t, os.Chmod(s.path("block.d/open"), 0o666))
	u := s.after(time.Second)
	require.Len(t, u, 1)
	assert.Len(t, u[0].Entries, 1, "what it contained stays")
	assert.Error(t, Validate([]string{"[", "ok"}))
}

func TestTooManyFiles(t *testing.T) {
	s := newShelf(t, "block.d/*")
	s.w.set.Limits.Files = 2
	require.NoError(t, os.Mkdir(s.path("block.d"), 0o700))
	for _, name := range []string{"b", "c"} {
		s.write("block.d/"+name, "198.51.100.7\n")
	}
	require.Len(t, s.after(5*time.Second), 2)
	s.write("block.d/a", "198.51.100.8\n")
	u := s.after(5 * time.Second)
	require.Len(t, u, 1, "a new file pushes none out")
	assert.Contains(t, u[0].Faults[0].String(), "too many files")
	assert.Empty(t, s.after(time.Second))
	require.NoError(t, os.Remove(s.path("block.d/b")))
	assert.Len(t, s.after(time.Second), 1)
}

func TestReload(t *testing.T) {
	s := newShelf(t, "list")
	var own []netip.Prefix
	s.w.set.Refuse = DefaultPolicy(func() []netip.Prefix { return own }).Refuse
	s.write("list", "10.0.0.0/8\n")
	require.Len(t, s.one(5*time.Second), 1)
	own = []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")}
	assert.Empty(t, s.after(time.Second))
	s.w.Reload()
	u := s.after(time.Second)
	require.Len(t, u, 1)
	assert.Empty(t, u[0].Entries)
	assert.Contains(t, u[0].Faults[0].Reason, "10.1.2.0/24")
}

// TestAFileReplacedAllTheTime: whatever is read is one of the whole contents.
func TestAFileReplacedAllTheTime(t *testing.T) {
	s := newShelf(t, "list")
	contents := make([]string, 3)
	for i := range contents {
		var b strings.Builder
		for n := range 2000 {
			fmt.Fprintf(&b, "10.%d.%d.%d\n", i, n/256, n%256)
		}
		contents[i] = b.String()
	}
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(time.Millisecond):
			}
			temporary := s.path(".new")
			if err := os.WriteFile(temporary, []byte(contents[i%3]), 0o600); err != nil {
				done <- err
				return
			}
			if err := os.Rename(temporary, s.path("list")); err != nil {
				done <- err
				return
			}
		}
	}()
	seen := map[string]bool{}
	for deadline := time.Now().Add(time.Minute); len(seen) < 3 && time.Now().Before(deadline); {
		s.wall = time.Now()
		for _, u := range s.after(10 * time.Millisecond) {
			assert.Empty(t, u.Faults)
			assert.False(t, u.Gone)
			for _, e := range u.Entries {
				seen[e.Prefix.String()[:4]] = true
			}
			assert.Zero(t, len(u.Entries)%2000)
		}
	}
	close(stop)
	require.NoError(t, <-done)
	assert.Len(t, seen, 3)
}

func BenchmarkParse100000(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "10.%d.%d.%d/32 86400 # scanner\n", i>>16, i>>8&255, i&255)
	}
	name := filepath.Join(b.TempDir(), "list")
	if err := os.WriteFile(name, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		w := New(Settings{Patterns: []string{name}, Limits: DefaultLimits(), Refuse: DefaultPolicy(nil).Refuse})
		if u := w.Poll(start, time.Now()); len(u) != 1 || len(u[0].Entries) != 100_000 {
			b.Fatal("not read")
		}
	}
}
