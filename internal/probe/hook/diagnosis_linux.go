// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package hook

import (
	"errors"
	"os"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// NewWayDiagnosis describes a way that was tried and ended with an error, or none.
func NewWayDiagnosis(err error, hooks ...string) WayDiagnosis {
	w := WayDiagnosis{Hooks: hooks}
	if err != nil {
		// The verifier's log, if any, is in the lines after the first.
		w.Error, _, _ = strings.Cut(err.Error(), "\n")
		w.Cause = causeOf(err)
	}
	return w
}

func causeOf(err error) Cause {
	var explained *capability.Refusal
	var missing *missingMember
	var verifier *ebpf.VerifierError
	switch {
	case errors.Is(err, ErrExcluded):
		return CauseExcluded
	case errors.As(err, &missing):
		return CauseMissing
	case !errors.As(err, &explained) && errors.As(err, &verifier) && len(verifier.Log) > 0:
		return CauseVerifier
	case errors.Is(err, os.ErrPermission):
		return CausePermission
	default:
		return CauseMissing
	}
}
