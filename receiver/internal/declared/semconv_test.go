// SPDX-License-Identifier: Apache-2.0

package declared_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	genai "go.opentelemetry.io/otel/semconv/v1.41.0"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/metadata"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/resource"
)

// TestSchemaURL: what is sent names the conventions that the next test compares with.
func TestSchemaURL(t *testing.T) {
	assert.Equal(t, semconv.SchemaURL, resource.SchemaURL)
	assert.NotEqual(t, genai.SchemaURL, resource.SchemaURL)
}

// ours are the prefixes of names that no convention has. The specification of the metrics SDK has the
// last one.
func ours() []string { return []string{"tcp.", "client.network", "otel.metric.overflow"} }

// TestConventions: every attribute is one of the semantic conventions, or has a prefix of ours.
func TestConventions(t *testing.T) {
	known := keys(t, "v1.43.0")
	for key := range keys(t, "v1.41.0") {
		known[key] = known[key] || strings.HasPrefix(key, "gen_ai.")
	}
	check := func(key string) {
		for _, prefix := range ours() {
			if strings.HasPrefix(key, prefix) {
				assert.False(t, known[key], "%s is a name of the conventions", key)
				return
			}
		}
		assert.True(t, known[key], "%s is no name of the conventions", key)
	}
	for a := range declared.Attributes {
		check(a.Key())
	}
	config := metadata.DefaultResourceAttributesConfig()
	for name := range declared.ResourceAttributes(&config) {
		check(name)
	}
}

// keys are all that a version of the package declares.
func keys(t *testing.T, version string) map[string]bool {
	t.Helper()
	folder, err := exec.Command("go", "list", "-f", "{{.Dir}}", "go.opentelemetry.io/otel/semconv/"+version).Output()
	require.NoError(t, err)
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(folder)), "attribute_group.go"), nil, 0)
	require.NoError(t, err)
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		// Attributes with a name of the user's, such as that of a header field, are a prefix.
		if literal, ok := n.(*ast.BasicLit); ok && strings.HasSuffix(literal.Value, `."`) {
			found[strings.Trim(literal.Value, `."`)] = true
		}
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return true
		}
		selector, ok := call.Fun.(*ast.SelectorExpr)
		literal, isLiteral := call.Args[0].(*ast.BasicLit)
		if ok && isLiteral && selector.Sel.Name == "Key" {
			key, err := strconv.Unquote(literal.Value)
			require.NoError(t, err)
			found[key] = true
		}
		return true
	})
	require.Greater(t, len(found), 100)
	return found
}
