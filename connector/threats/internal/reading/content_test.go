// SPDX-License-Identifier: Apache-2.0

package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhoARequestIsFrom(t *testing.T) {
	header := func(name, value string) map[string]any {
		return map[string]any{"http.request.header." + name: []any{value}}
	}
	reader := NewReader(1)
	of := func(attributes map[string]any) Identity {
		for name, value := range whole(HTTPRequest) {
			attributes[name] = value
		}
		var r Record
		require.Equal(t, Read, reader.Read(record(t, HTTPRequest.String(), attributes), &r))
		return r.Identity(7)
	}
	alice := of(map[string]any{userName: "alice"})
	assert.Equal(t, "alice", alice.User)
	assert.Equal(t, alice, of(header("authorization", "basic YWxpY2U6c2VjcmV0")))
	assert.Equal(t, "7", of(map[string]any{userName: "alice", userID: "7"}).User)
	token := of(header("authorization", "Bearer abc"))
	assert.Empty(t, token.User)
	assert.NotZero(t, token.Hash)
	assert.NotEqual(t, token, of(header("authorization", "Bearer abd")))
	assert.NotZero(t, of(header("x-api-key", "abc")).Hash)
	for _, nobody := range []map[string]any{
		{},
		header("authorization", "REDACTED"), header("authorization", ""),
		{"http.request.header.authorization": "Bearer abc"},
		{"http.request.header.authorization": []any{}},
		{"http.request.header.authorization": []any{int64(1)}},
		{userName: ""},
	} {
		assert.Zero(t, of(nobody), "%v", nobody)
	}
	assert.NotZero(t, of(header("authorization", "Basic !!!")).Hash, "a token of its own")
	assert.Zero(t, (&Record{}).Identity(7))
}

func TestContentIsBounded(t *testing.T) {
	deep := any("end")
	for range 200 {
		deep = map[string]any{"a": deep}
	}
	wide := make([]any, 10_000)
	for i := range wide {
		wide[i] = "x"
	}
	var r Record
	reader := NewReader(1)
	for _, body := range []any{deep, wide} {
		attributes := whole(HTTPRequest)
		attributes[bodyStructured] = body
		require.Equal(t, Read, reader.Read(record(t, HTTPRequest.String(), attributes), &r))
		texts := 0
		r.Content(func(part Part, _, _ string) {
			if part == PartBody {
				texts++
			}
		})
		assert.Positive(t, texts)
		assert.LessOrEqual(t, texts, 2*maxValues)
	}
	(&Record{}).Content(func(Part, string, string) { assert.Fail(t, "no content") })
}
