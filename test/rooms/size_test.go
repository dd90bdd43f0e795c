// SPDX-License-Identifier: Apache-2.0

package rooms

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// roomLines is how many lines written by hand a package of production code may have.
	roomLines = 1500
	// fileLines is how many a file may have, tests and C included.
	fileLines = 500
)

// generated is Go's mark of generated code.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// notProduction are folders whose packages only test, measure or develop.
var notProduction = []string{"bench", "deploy", "internal/testbed/...", "internal/tools/...", "scripts/...", "test/..."}

// sources are the files written by hand, with their text.
func sources(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(top, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "dist" || entry.Name() == ".git"):
			return fs.SkipDir
		case !entry.Type().IsRegular() || !slices.Contains([]string{".go", ".c", ".h", ".sh"}, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(name)
		if name, relErr := filepath.Rel(top, name); relErr == nil && !generated.Match(text) {
			found[filepath.ToSlash(name)] = text
		}
		return err
	}))
	require.Greater(t, len(found), 100)
	return found
}

func TestSizes(t *testing.T) {
	rooms := map[string]int{}
	for name, text := range sources(t) {
		lines := bytes.Count(text, []byte("\n"))
		assert.LessOrEqual(t, lines, fileLines, "lines of %s", name)
		room := path.Dir(name)
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !in(notProduction, room) {
			rooms[room] += lines
		}
	}
	for room, lines := range rooms {
		assert.LessOrEqual(t, lines, roomLines, "lines of %s", room)
	}
}
