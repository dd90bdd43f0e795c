// SPDX-License-Identifier: Apache-2.0

package source

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKinds(t *testing.T) {
	var none Kinds
	some := none.With(Land, Unanswered)
	for c := range Counts {
		assert.Equal(t, c == Land || c == Unanswered, some.Has(c), c)
		assert.False(t, none.Has(c), c)
	}
}
