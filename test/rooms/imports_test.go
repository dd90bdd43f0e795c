// SPDX-License-Identifier: Apache-2.0

package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// top is the folder of the module.
const top = "../.."

const module = "github.com/ebpftcp/ebpftcpreceiver"

// imports of each package: rooms of this module by their folder, others by their path.
type imports map[string][]string

// listPackages asks go list for this module's packages and all that they import.
func listPackages(t *testing.T, goos string) (own, all imports) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir, cmd.Stderr = top, os.Stderr
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	text, err := cmd.Output()
	require.NoError(t, err)
	own, all = imports{}, imports{}
	for decoder := json.NewDecoder(strings.NewReader(string(text))); ; {
		var p struct {
			ImportPath string
			Standard   bool
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		if p.Standard {
			continue
		}
		for i := range p.Imports {
			p.Imports[i] = folder(p.Imports[i])
		}
		all[folder(p.ImportPath)] = p.Imports
		if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
			own[folder(p.ImportPath)] = p.Imports
		}
	}
	return own, all
}

// folder is the room of a package of this module; other paths stay.
func folder(path string) string {
	if path == module {
		return ""
	}
	return strings.TrimPrefix(path, module+"/")
}

// in tells whether one of the rooms is the package, or is above it and ends with "/...".
func in(rooms []string, path string) bool {
	return slices.ContainsFunc(rooms, func(room string) bool {
		above, all := strings.CutSuffix(room, "/...")
		return path == above || all && strings.HasPrefix(path, above+"/")
	})
}

// kind of a package from outside; empty if everybody may import it.
func kind(path string) string {
	longest := ""
	for prefix := range outside {
		if in([]string{prefix + "/..."}, path) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return outside[longest]
}

// ruleOf finds the rule of a room; that of a room itself counts before that of one above.
func ruleOf(path string) *rule {
	for i := range rules {
		if slices.Contains(rules[i].rooms, path) {
			return &rules[i]
		}
	}
	for i := range rules {
		if in(rules[i].rooms, path) {
			return &rules[i]
		}
	}
	return nil
}

// allows tells whether a room of the rule may import a package.
func (r *rule) allows(own imports, room, path string) bool {
	if _, ours := own[path]; ours {
		return in(r.imports, path) || slices.ContainsFunc(r.rooms, func(above string) bool {
			return in([]string{above}, room) && in([]string{above}, path)
		})
	}
	kind := kind(path)
	return kind == "" || slices.Contains(r.imports, kind)
}

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		own, all := listPackages(t, goos)
		require.Greater(t, len(own), 20)
		for _, path := range slices.Sorted(maps.Keys(own)) {
			seen[path] = true
			r := ruleOf(path)
			if !assert.NotNil(t, r, "%q has no rule", path) {
				continue
			}
			for _, imported := range own[path] {
				assert.True(t, r.allows(own, path, imported), "%s: %q may not import %q (%s)", goos, path, imported, kind(imported))
			}
			checkNevers(t, path, all)
		}
	}
	for _, r := range rules {
		for _, room := range r.rooms {
			exists := slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(path string) bool { return in([]string{room}, path) })
			assert.True(t, exists || r.planned, "there is no room %q", room)
		}
	}
}

// checkNevers follows all imports of a room.
func checkNevers(t *testing.T, path string, all imports) {
	t.Helper()
	var reached map[string]string
	for _, n := range nevers {
		if !in(n.rooms, path) {
			continue
		}
		if reached == nil {
			reached = reach(path, all)
		}
		for imported, by := range reached {
			bad := in(n.never, imported) || kind(imported) != "" && slices.Contains(n.never, kind(imported))
			assert.False(t, bad, "%q reaches %q by %q, but %s", path, imported, by, n.why)
		}
	}
}

// reach is all that a package imports, near or far, each with the package that imports it.
func reach(path string, all imports) map[string]string {
	reached, next := map[string]string{}, []string{path}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		for _, imported := range all[at] {
			if _, known := reached[imported]; !known {
				reached[imported] = at
				next = append(next, imported)
			}
		}
	}
	return reached
}

// TestRules holds the rules to the words that describe them.
func TestRules(t *testing.T) {
	own := imports{"internal/owner": nil, "internal/probe": nil, "internal/probe/packets": nil, "internal/probe/packets/halfopen": nil, "internal/probe/sockets": nil, "receiver/internal/series": nil}
	for _, test := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/connection", "internal/owner", true},
		{"internal/connection", "internal/probe", false},
		{"internal/connection", "go.opentelemetry.io/collector/pdata/plog", false},
		{"internal/connection", "go.opentelemetry.io/collector/component", false},
		{"internal/connection", "github.com/cilium/ebpf/btf", false},
		{"internal/connection", "golang.org/x/sys/unix", false},
		{"internal/connection", "golang.org/x/text/cases", true},
		{"internal/probe/tc", "internal/probe/packets", false},
		{"internal/probe/tc", "github.com/cilium/ebpf/link", true},
		{"internal/probe/packets", "github.com/cilium/ebpf/link", true},
		{"internal/probe/packets", "internal/probe/sockets", false},
		{"internal/probe/packets", "internal/probe/packets/halfopen", true},
		{"receiver/internal/logrecord", "receiver/internal/series", false},
		{"receiver/internal/logrecord", "go.opentelemetry.io/collector/pdata/plog", true},
		{"connector/threats/internal/rules", "internal/owner", true},
		{"connector/threats", "github.com/cilium/ebpf", false},
		{"exporter/view", "internal/probe", false},
	} {
		r := ruleOf(test.from)
		require.NotNil(t, r, test.from)
		assert.Equal(t, test.allowed, r.allows(own, test.from, test.to), "%s → %s", test.from, test.to)
	}
	assert.Nil(t, ruleOf("internal/newcomer"), "a new room needs a rule")
	assert.Nil(t, ruleOf("internal/probe/newcomer"))
	assert.Equal(t, map[string]string{"b": "a", "c": "b"}, reach("a", imports{"a": {"b"}, "b": {"c"}, "c": {"b"}}))
}
