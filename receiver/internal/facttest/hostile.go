// SPDX-License-Identifier: Apache-2.0

package facttest

import (
	"reflect"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// Hostile is a name that an interface, process or file can have, and worse.
const Hostile = "e\xff\nFORGED \x1b[2J\a\x00\u009b\u202e\u2028"

// Poison sets every string of a fact to Hostile, also strings that are added later.
func Poison[T any](fact *T) *T {
	poisonValue(reflect.ValueOf(fact).Elem())
	return fact
}

func poisonValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(Hostile)
	case reflect.Pointer:
		if !v.IsNil() {
			poisonValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poisonValue(v.Field(i))
			}
		}
	}
}

// RequireHarmless fails if a receiver that checks UTF-8, as proto3 demands, would refuse the
// message, or if a string could harm its reader.
func RequireHarmless(t *testing.T, raw []byte, message proto.Message) {
	t.Helper()
	require.NoError(t, proto.Unmarshal(raw, message))
	eachString(message.ProtoReflect(), func(s string) {
		require.LessOrEqual(t, len(s), 2*clean.MaxBytes, "%q is too long", s)
		for _, r := range s {
			require.True(t, unicode.IsPrint(r), "%q is in %q", r, s)
		}
	})
}

func eachString(message protoreflect.Message, visit func(string)) {
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		one := func(value protoreflect.Value) {
			switch field.Kind() {
			case protoreflect.StringKind:
				visit(value.String())
			case protoreflect.MessageKind:
				eachString(value.Message(), visit)
			}
		}
		if !field.IsList() {
			one(value)
			return true
		}
		for i := range value.List().Len() {
			one(value.List().Get(i))
		}
		return true
	})
}
