// SPDX-License-Identifier: Apache-2.0

package cleanlog

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// TestLoggerCleans logs a hostile name in every way that components log strings.
func TestLoggerCleans(t *testing.T) {
	t.Parallel()
	const hostile, harmless = "e\xff\x1b[2J\u202e", "e\uFFFD\uFFFD[2J\uFFFD"
	core, messages := observer.New(zap.InfoLevel)
	logger := Logger(zap.New(core))
	logger.Debug("below the level")
	cause := errors.New("attach to " + hostile)
	logger.With(zap.String("path", hostile)).Warn("about "+hostile,
		zap.String("interface", hostile),
		zap.Error(cause),
		zap.Strings("lost", []string{"a", hostile}),
		zap.Dict("books", zap.String("name", hostile), zap.Int64("n", 7)),
		zap.Int("count", 3))
	require.Equal(t, 1, messages.Len())
	line := messages.All()[0]
	require.Equal(t, "about "+harmless, line.Message)
	require.Equal(t, map[string]any{
		"path":      harmless,
		"interface": harmless,
		"error":     "attach to " + harmless,
		"lost":      []any{"a", harmless},
		"books":     map[string]any{"name": harmless, "n": int64(7)},
		"count":     int64(3),
	}, line.ContextMap())

	err := Error(cause)
	require.EqualError(t, err, "attach to "+harmless)
	require.ErrorIs(t, err, cause)
	require.NoError(t, Error(nil))
}
