// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a strict server of the protocol with one model: its score is the sum of a vector. Its
// faults answer instead.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	metadata metadata
	// fault answers a request for scores; nil is none.
	fault func(w http.ResponseWriter, sums []float64)
	// refused are the requests that break the protocol, and sizes the batches that don't.
	refused []string
	sizes   []int
	asked   int
	// release ends answers that never come.
	release chan struct{}
}

// fits is the metadata of a model that takes three features.
func fits() metadata {
	return metadata{
		Versions: []string{"1", "2"},
		Inputs:   []tensor{{"x", "FP32", []int64{-1, 3}}},
		Outputs:  []tensor{{"score", "FP32", []int64{-1, 1}}},
	}
}

func serve(t *testing.T, m metadata) *server {
	t.Helper()
	s := &server{metadata: m, release: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/sum", s.describe)
	mux.HandleFunc("GET /v2/models/sum/versions/{version}", s.describe)
	mux.HandleFunc("POST /v2/models/sum/infer", s.infer)
	mux.HandleFunc("POST /v2/models/sum/versions/{version}/infer", s.infer)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.release)
		s.Close()
		require.Empty(t, s.refused, "requests that break the protocol")
	})
	return s
}

func (s *server) describe(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if v := r.PathValue("version"); v != "" && !slices.Contains(s.metadata.Versions, v) {
		refuse(w, http.StatusNotFound, "no version "+v)
		return
	}
	reply(w, map[string]any{
		"name": "sum", "versions": s.metadata.Versions, "platform": "test",
		"inputs": describeAll(s.metadata.Inputs), "outputs": describeAll(s.metadata.Outputs),
	})
}

func describeAll(tensors []tensor) []map[string]any {
	all := []map[string]any{}
	for _, t := range tensors {
		all = append(all, map[string]any{"name": t.Name, "datatype": t.Datatype, "shape": t.Shape})
	}
	return all
}

func (s *server) infer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	sums, err := s.read(r)
	if err != nil {
		s.refused = append(s.refused, err.Error())
		s.mu.Unlock()
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	s.sizes = append(s.sizes, len(sums))
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		fault(w, sums)
		return
	}
	reply(w, answerOf([]int64{int64(len(sums)), 1}, sums))
}

// read refuses whatever the protocol does not permit.
func (s *server) read(r *http.Request) ([]float64, error) {
	var request struct {
		Inputs []struct {
			Name     string    `json:"name"`
			Datatype string    `json:"datatype"`
			Shape    []int64   `json:"shape"`
			Data     []float64 `json:"data"`
		} `json:"inputs"`
		Outputs []struct {
			Name string `json:"name"`
		} `json:"outputs"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return nil, err
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		return nil, fmt.Errorf("content type %q", got)
	}
	if len(request.Inputs) != 1 || len(request.Outputs) != 1 || request.Outputs[0].Name != s.metadata.Outputs[0].Name {
		return nil, fmt.Errorf("inputs or outputs: %+v", request)
	}
	in, declared := request.Inputs[0], s.metadata.Inputs[0]
	width := declared.Shape[len(declared.Shape)-1]
	fixed := declared.Shape[0] != -1
	if in.Name != declared.Name || in.Datatype != declared.Datatype || product(in.Shape) != int64(len(in.Data)) ||
		in.Shape[len(in.Shape)-1] != width || len(in.Shape) != len(declared.Shape) || fixed && !slices.Equal(in.Shape, declared.Shape) {
		return nil, fmt.Errorf("input %+v, declared %+v", in, declared)
	}
	var sums []float64
	for v := range slices.Chunk(in.Data, int(width)) {
		sum := 0.0
		for _, value := range v {
			sum += value
		}
		sums = append(sums, sum)
	}
	return sums, nil
}

func (s *server) set(fault func(w http.ResponseWriter, sums []float64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *server) batches() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sizes)
}

func answerOf(shape []int64, data any) map[string]any {
	return map[string]any{
		"model_name": "sum", "model_version": "1",
		"outputs": []map[string]any{{"name": "score", "datatype": "FP32", "shape": shape, "data": data}},
	}
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	reply(w, map[string]string{"error": text})
}

// raw answers with this text, in which %d is the number of vectors.
func raw(text string) func(http.ResponseWriter, []float64) {
	return func(w http.ResponseWriter, sums []float64) {
		_, _ = w.Write([]byte(strings.ReplaceAll(text, "%d", fmt.Sprint(len(sums)))))
	}
}

// configOf has the model of a server.
func configOf(s *server) Config {
	c := DefaultConfig()
	c.Client.Endpoint, c.Client.Timeout = s.URL, 5*time.Second
	c.Name = "sum"
	c.Features = []string{"attempts", "failed", "failed_share"}
	c.Normalise.Form = formRaw
	return c
}
