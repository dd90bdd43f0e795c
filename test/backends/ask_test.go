// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// client asks backends on loopback.
var client = &http.Client{Timeout: 10 * time.Second}

// get asks and returns the body of an answer of 200.
func get(address string, parameters url.Values) ([]byte, error) {
	answer, err := client.PostForm(address, parameters)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", address, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("ask %s: %s: %s", address, answer.Status, text)
	}
	return text, err
}

// metrics is a backend that answers PromQL.
type metrics struct{ name, base string }

// sample is one element of a vector.
type sample struct {
	Labels map[string]string
	Value  float64
}

// vector evaluates a query now.
func (m metrics) vector(query string) ([]sample, error) {
	text, err := get(m.base+"/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", m.name, err)
	}
	if answer.Data.ResultType != "vector" {
		return nil, fmt.Errorf("%s answers with a %s", m.name, answer.Data.ResultType)
	}
	var rows []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(answer.Data.Result, &rows); err != nil {
		return nil, fmt.Errorf("read the vector of %s: %w", m.name, err)
	}
	var all []sample
	for _, row := range rows {
		text, _ := row.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read a value of %s: %w", m.name, err)
		}
		all = append(all, sample{row.Metric, value})
	}
	return all, nil
}

// value is the only element of a vector; NaN if it is empty.
func (m metrics) value(query string) (float64, error) {
	all, err := m.vector(query)
	switch {
	case err != nil:
		return 0, err
	case len(all) == 0:
		return math.NaN(), nil
	case len(all) > 1:
		return 0, fmt.Errorf("%s has %d series for %s: %v", m.name, len(all), query, all)
	}
	return all[0].Value, nil
}

// logs is a backend that answers LogsQL.
type logs struct {
	base    string
	process *lab.Process
}

// rows are the records of a query, or what its pipes make of them.
func (l logs) rows(query string) ([]map[string]string, error) {
	text, err := get(l.base+"/select/logsql/query", url.Values{"query": {query}, "limit": {"10000"}})
	if err != nil {
		return nil, err
	}
	var all []map[string]string
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var row map[string]string
		if err := decoder.Decode(&row); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("read the answer of VictoriaLogs: %w", err)
		}
		all = append(all, row)
	}
}

// count is the number of records of a query.
func (l logs) count(query string) (int, error) {
	rows, err := l.rows(query + " | stats count() n")
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 {
		return 0, fmt.Errorf("VictoriaLogs counts %v", rows)
	}
	return strconv.Atoi(rows[0]["n"])
}
