// SPDX-License-Identifier: Apache-2.0

//go:build linux && !privileged && (amd64 || arm64)

package tc

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
