// SPDX-License-Identifier: Apache-2.0

package needs

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

func TestEverythingNeedsAFeature(t *testing.T) {
	for event := range declared.Events {
		assert.NotEmpty(t, OfEvent(event), event)
	}
	for metric := range declared.Metrics {
		assert.NotEmpty(t, OfMetric(metric), metric)
	}
}
