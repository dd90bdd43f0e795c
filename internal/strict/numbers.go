// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

func isNumber(raw any) bool {
	switch raw.(type) {
	case int, int64, uint64, float64:
		return true
	}
	return false
}

// integer accepts whole numbers, also those written with a fraction of zero.
func (c *checker) integer(at place, t reflect.Type, raw any) {
	tooLarge := false
	switch v := raw.(type) {
	case int:
		tooLarge = t.OverflowInt(int64(v))
	case int64:
		tooLarge = t.OverflowInt(v)
	case uint64:
		tooLarge = v > math.MaxInt64 || t.OverflowInt(int64(v))
	case float64:
		if v != math.Trunc(v) {
			c.fault(at, "%s is not a whole number", show(raw))
			return
		}
		// The nearest float64 to the greatest integer is greater by one.
		tooLarge = math.Abs(v) >= math.MaxInt64 || t.OverflowInt(int64(v))
	case string:
		c.fault(at, "%s is not a whole number%s", show(raw), inBytes(v))
		return
	default:
		c.fault(at, "%s is not a whole number", show(raw))
		return
	}
	if tooLarge {
		c.fault(at, "%s is too large", show(raw))
	}
}

// inBytes suggests the number for a size such as 16MiB.
func inBytes(text string) string {
	digits := strings.TrimRight(text, " kKMGTiBb")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return ""
	}
	unit := strings.TrimSuffix(strings.TrimSpace(text[len(digits):]), "B")
	letter := strings.ToUpper(strings.TrimSuffix(unit, "i"))
	power := strings.Index("KMGT", letter) + 1
	if letter == "" || power == 0 {
		return ""
	}
	base := 1000.0
	if strings.HasSuffix(unit, "i") {
		base = 1024
	}
	return fmt.Sprintf("; write %.0f", n*math.Pow(base, float64(power)))
}

func (c *checker) duration(at place, raw any) {
	text, ok := raw.(string)
	if !ok && isNumber(raw) {
		text, ok = show(raw), true
	}
	if ok {
		if _, err := time.ParseDuration(text); err == nil {
			return // 0 needs no unit
		}
	}
	if n, err := strconv.ParseFloat(text, 64); ok && err == nil && !math.IsNaN(n) {
		c.fault(at, "%s has no unit; write %ss for seconds", show(raw), text)
		return
	}
	c.fault(at, "%s is not a duration such as 200ms, 10s or 5m", show(raw))
}

// show writes a value as it stands in a configuration.
func show(raw any) string {
	const most = 60
	switch v := raw.(type) {
	case map[string]any:
		return "a mapping"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		if text, err := json.Marshal(v); err == nil && len(text) <= most {
			return string(text)
		}
		return "a list"
	case string:
		if len(v) > most {
			v = v[:most] + "…"
		}
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}
