// SPDX-License-Identifier: Apache-2.0

package genai

import "bytes"

// Endpoint is a form of request that language models serve.
type Endpoint uint8

// Endpoints.
const (
	// NoEndpoint is any other request.
	NoEndpoint Endpoint = iota
	ChatCompletions
	Completions
	Responses
	Embeddings
	// Messages is Anthropic's form.
	Messages
)

// EndpointOf finds the endpoint of a request by its method and target. Only the end of the
// path counts, because gateways put their own prefixes before it.
func EndpointOf(method, target []byte) Endpoint {
	if string(method) != "POST" {
		return NoEndpoint
	}
	if end := bytes.IndexAny(target, "?#"); end >= 0 {
		target = target[:end]
	}
	target = bytes.TrimSuffix(target, []byte{'/'})
	before, last := cutLast(target)
	switch string(last) {
	case "completions":
		if _, last = cutLast(before); string(last) == "chat" {
			return ChatCompletions
		}
		return Completions
	case "responses":
		return Responses
	case "embeddings":
		return Embeddings
	case "messages":
		return Messages
	default:
		return NoEndpoint
	}
}

// cutLast cuts the last segment off a path.
func cutLast(path []byte) (before, last []byte) {
	slash := bytes.LastIndexByte(path, '/')
	if slash < 0 {
		return nil, nil
	}
	return path[:slash], path[slash+1:]
}

// Operation is the value of gen_ai.operation.name; "" without an endpoint.
func (e Endpoint) Operation() string {
	switch e {
	case ChatCompletions, Responses, Messages:
		return OperationChat
	case Completions:
		return OperationTextCompletion
	case Embeddings:
		return OperationEmbeddings
	default:
		return ""
	}
}

// provider is the value of gen_ai.provider.name.
func (e Endpoint) provider(target []byte) string {
	switch {
	case e == Messages:
		return ProviderAnthropic
	case bytes.Contains(target, []byte("/openai/deployments/")):
		return ProviderAzureOpenAI
	default:
		return ProviderOpenAI
	}
}
