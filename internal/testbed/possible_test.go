// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// host lacks what it has a reason for, and knows "live" and "queue".
type host map[string]string

func (h host) Lacks(need string) (string, error) {
	if need != "live" && need != "queue" {
		return "", errors.New("no feature " + need)
	}
	return h[need], nil
}

// skipper is a test that notes how it ended.
type skipper struct {
	testing.TB
	skipped, failed string
}

func (s *skipper) Helper()                   {}
func (s *skipper) Skip(args ...any)          { s.skipped = args[0].(string) }
func (s *skipper) Fatalf(_ string, a ...any) { s.failed = a[0].(error).Error() }

func TestNeed(t *testing.T) {
	h := host{"queue": "refused"}
	s := &skipper{}
	Need(s, h, "live")
	assert.Equal(t, &skipper{}, s)
	Need(s, h, "live", "queue")
	assert.Equal(t, &skipper{skipped: "not possible here: queue: refused"}, s)
	assert.Equal(t, "queue: refused", Reason("=== RUN   TestA\n    a_test.go:7: "+s.skipped+"\n--- SKIP: TestA (0.00s)\n"))
	assert.Empty(t, Reason("    a_test.go:7: no root\n"))
	s = &skipper{}
	Need(s, h, "lvie")
	assert.Equal(t, &skipper{failed: "no feature lvie"}, s)
}

func TestExcludedHooks(t *testing.T) {
	t.Setenv(ExcludedVariable, "")
	assert.Empty(t, ExcludedHooks())
	t.Setenv(ExcludedVariable, "iter/bpf_map_elem, fentry/*")
	assert.Equal(t, []string{"iter/bpf_map_elem", "fentry/*"}, ExcludedHooks())
}

// Whether a test is possible is for the diagnosis to say: no test skips by itself.
func TestOnlyTheDiagnosisSkips(t *testing.T) {
	skip := regexp.MustCompile(`\.(Skip|Skipf|SkipNow)\(`)
	looked := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasPrefix(path, "../../internal/testbed/") {
			return err
		}
		text, err := os.ReadFile(path)
		looked++
		assert.False(t, skip.Match(text), "%s: use Need", path)
		return err
	}))
	assert.Greater(t, looked, 100)
}
