// SPDX-License-Identifier: Apache-2.0

// Package cleanlog cleans what a component logs and reports, as package clean does strings:
// log lines and errors name interfaces, files and processes, whose names others chose.
package cleanlog

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
)

// cleanError is an error whose text is cleaned when it is read.
type cleanError struct{ error }

func (e cleanError) Error() string { return clean.Text(e.error.Error()) }

func (e cleanError) Unwrap() error { return e.error }

// Error returns err with a text that is clean; nil stays nil.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return cleanError{err}
}

// Logger returns a logger that cleans messages and fields. The Collector can send its own
// logs by OTLP, and its console prints messages unchanged.
func Logger(logger *zap.Logger) *zap.Logger {
	return logger.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return core{c} }))
}

type core struct{ zapcore.Core }

func (c core) With(fields []zapcore.Field) zapcore.Core {
	return core{c.Core.With(cleanFields(fields))}
}

func (c core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) {
		return checked
	}
	return checked.AddCore(entry, c)
}

// Write asks the core below again: it may be several, of different levels, or sample.
func (c core) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	if checked := c.Core.Check(entry, nil); checked != nil {
		checked.Message = clean.Text(entry.Message)
		checked.Caller, checked.Stack = entry.Caller, entry.Stack
		checked.Write(cleanFields(fields)...)
	}
	return nil
}

func cleanFields(fields []zapcore.Field) []zapcore.Field {
	all := make([]zapcore.Field, 0, len(fields))
	for _, field := range fields {
		all = append(all, cleanField(field))
	}
	return all
}

func cleanField(field zapcore.Field) zapcore.Field {
	switch field.Type {
	case zapcore.StringType:
		field.String = clean.Text(field.String)
		return field
	case zapcore.ErrorType:
		err, ok := field.Interface.(error)
		if ok && clean.Text(err.Error()) != err.Error() {
			field.Interface = cleanError{err}
		}
		return field
	case zapcore.ArrayMarshalerType, zapcore.ObjectMarshalerType, zapcore.StringerType, zapcore.ReflectType:
		encoded := zapcore.NewMapObjectEncoder()
		field.AddTo(encoded)
		value := encoded.Fields[field.Key]
		if cleanValue(&value) {
			return zap.Any(field.Key, value)
		}
	}
	return field
}

// cleanValue cleans the strings of what an encoder gathered, and reports whether any had
// to be.
func cleanValue(value *any) bool {
	changed := false
	switch v := (*value).(type) {
	case string:
		text := clean.Text(v)
		changed = text != v
		*value = text
	case []any:
		for i := range v {
			changed = cleanValue(&v[i]) || changed
		}
	case map[string]any:
		for key, element := range v {
			if cleanValue(&element) {
				v[key], changed = element, true
			}
		}
	}
	return changed
}
