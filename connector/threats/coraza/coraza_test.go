// SPDX-License-Identifier: Apache-2.0

package coraza

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"

	"github.com/ebpftcp/ebpftcpreceiver/connector/threats"
)

func open(t testing.TB, set threats.PayloadSettings) threats.PayloadEngine {
	t.Helper()
	if set.Paranoia == 0 {
		set.Paranoia = 1
	}
	set.MaxBytes = 8192
	e, err := Open(set)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, e.Close()) })
	return e
}

func request(path, query, body string) *threats.PayloadRequest {
	r := &threats.PayloadRequest{
		Client: netip.MustParseAddr("192.0.2.7"), Server: netip.MustParseAddr("192.0.2.1"), Port: 80, Method: "GET", Path: path, Query: query,
	}
	if body != "" {
		r.Method, r.Body = "POST", []byte(body)
		r.Headers = []threats.PayloadHeader{{Name: "content-type", Value: "application/x-www-form-urlencoded"}}
	}
	return r
}

func TestAttacksAndOrdinaryRequests(t *testing.T) {
	e := open(t, threats.PayloadSettings{})
	for name, test := range map[string]struct {
		request *threats.PayloadRequest
		rule    string
	}{
		"SQL in a query": {request("/", "id=1%27%20OR%20%271%27=%271%27--%20-", ""), "942100"},
		"SQL in a form":  {request("/login", "", "user=x' UNION SELECT password FROM users-- -"), "942100"},
		"script":         {request("/", "q=%3Cscript%3Ealert(1)%3C/script%3E", ""), "941100"},
		"another folder": {request("/", "file=../../../../etc/passwd", ""), "930120"},
		"a shell":        {request("/", "x=;cat%20/etc/passwd", ""), "932160"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := e.Judge(test.request)
			require.NoError(t, err)
			assert.Contains(t, v.Rules, test.rule)
			assert.GreaterOrEqual(t, v.Score, 5)
		})
	}
	put, call, unnamed := request("/users/42", "", `{"name":"alice"}`), request("/shop.Orders/Place", "", "\x00\x00\x00\x00\x02\x08\x01"), request("/upload", "", "some text")
	put.Method, put.Headers = "PUT", []threats.PayloadHeader{{Name: "Content-Type", Value: "application/json"}}
	call.Headers = []threats.PayloadHeader{{Name: "Content-Type", Value: "application/grpc"}}
	unnamed.Headers = nil
	for _, r := range []*threats.PayloadRequest{
		put, call, unnamed,
		request("/", "", ""), request("/users/42", "page=2&sort=name", ""), request("/search", "q=union+of+states", ""),
		request("/login", "", "user=alice&password=correct+horse"),
	} {
		v, err := e.Judge(r)
		require.NoError(t, err)
		assert.Zero(t, v.Score, "%+v: %v", r, v.Rules)
	}
	_, err := e.Judge(&threats.PayloadRequest{})
	require.NoError(t, err)
}

func TestAFolderOfRules(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(folder, "rules"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "crs-setup.conf"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "rules", "own.conf"),
		[]byte(`SecRule ARGS "@contains evil" "id:1999,phase:2,pass,msg:'own',severity:'CRITICAL'"`), 0o600))
	v, err := open(t, threats.PayloadSettings{Folder: folder}).Judge(request("/", "a=evil", ""))
	require.NoError(t, err)
	assert.Equal(t, threats.PayloadVerdict{Rules: []string{"1999"}, Score: 5}, v)
	_, err = Open(threats.PayloadSettings{Folder: filepath.Join(folder, "nowhere"), MaxBytes: 1024, Paranoia: 1})
	require.Error(t, err)
}

func TestFactory(t *testing.T) {
	require.Equal(t, threats.NewFactory().Type(), NewFactory().Type())
	require.NoError(t, componenttest.CheckConfigStruct(NewFactory().CreateDefaultConfig()))
}

func BenchmarkJudge(b *testing.B) {
	e := open(b, threats.PayloadSettings{})
	for name, r := range map[string]*threats.PayloadRequest{
		"query": request("/users/42", "page=2&sort=name", ""), "form": request("/login", "", "user=alice&password=correct+horse"),
		"attack": request("/", "id=1%27%20OR%20%271%27=%271%27--%20-", ""),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Judge(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
