// SPDX-License-Identifier: Apache-2.0

// Package deploy has the questions of queries.yaml, from which pages, rules and dashboards are
// made. Its tests hold what is deployed to what the code needs.
package deploy

//go:generate go run ./make ..

import (
	_ "embed"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Query is a question of somebody who runs services.
type Query struct {
	// ID is unique. Links, tests and dashboards use it.
	ID, Title string
	// Board is the dashboard that shows it: overview, service, host or receiver.
	Board string
	// Unit of the result, as Grafana names it.
	Unit string
	// PromQL and LogsQL ask metrics and logs. One of them can be "". The places $service and $host
	// take a selection: see Select.
	PromQL, LogsQL string
	// Answer is what a good one looks like.
	Answer string
	// Record names a recording rule; "" if there is none.
	Record string
	// Alert is nil if there is none.
	Alert *Alert
}

// Alert is a rule that fires.
type Alert struct {
	Name string
	// When is the expression that has a result then.
	When string
	// For is how long it has one before it fires, in Prometheus' form.
	For      string
	Severity string
	// Summary is a template with the labels of the result.
	Summary string
}

//go:embed queries.yaml
var source []byte

// Queries returns all of them, in the order of the file.
func Queries() ([]Query, error) {
	var file struct{ Queries []Query }
	if err := yaml.Unmarshal(source, &file); err != nil {
		return nil, fmt.Errorf("read queries.yaml: %w", err)
	}
	return file.Queries, nil
}

// Select returns a PromQL expression with selections of series in its places, such as
// `server_port="80"`. Either can be "".
func Select(expression, service, host string) string {
	for place, selection := range map[string]string{"$service": service, "$host": host} {
		if selection != "" {
			expression = strings.ReplaceAll(expression, place, selection)
			continue
		}
		expression = strings.ReplaceAll(expression, "{"+place+"}", "")
		expression = strings.ReplaceAll(expression, place+", ", "")
	}
	return expression
}
