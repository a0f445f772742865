package fakeaws

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// requestID is the request id of responses that the proxy itself makes, to
// distinguish them from moto's in logs.
const requestID = "00000000-0000-0000-0000-xeroopsfront"

// Answer returns an HTTP response to the call with an XML body; others set
// their content type.
func (c *Call) Answer(status int, body string) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":     {"text/xml;charset=UTF-8"},
			"X-Amz-Request-Id": {requestID},
		},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		Request:       c.Request,
	}
}

// AnswerJSON returns an HTTP response to the call with a JSON body, for services with
// AWS's JSON protocol.
func (c *Call) AnswerJSON(status int, content any) *http.Response {
	body, err := json.Marshal(content)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	res := c.Answer(status, string(body))
	res.Header.Set("Content-Type", "application/x-amz-json-1.1")
	return res
}

// Error returns an error response in the call's protocol.
func (c *Call) Error(status int, code, message string) *http.Response {
	inner := "<Code>" + escape(code) + "</Code><Message>" + escape(message) + "</Message>"
	const header = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"
	switch c.Service {
	case EC2:
		return c.Answer(status, header+"<Response><Errors><Error>"+inner+"</Error></Errors><RequestID>"+
			requestID+"</RequestID></Response>")
	case S3:
		res := c.Answer(status, header+"<Error>"+inner+"<Resource>"+escape(c.Resource)+"</Resource><RequestId>"+
			requestID+"</RequestId></Error>")
		if c.Request.Method == http.MethodHead {
			res.Body = http.NoBody
		}
		return res
	case Resolver:
		return c.AnswerJSON(status, map[string]string{"__type": code, "message": message})
	case DLM:
		res := c.AnswerJSON(status, map[string]string{"Code": code, "Message": message})
		res.Header.Set("X-Amzn-ErrorType", code)
		return res
	default:
		return c.Answer(status, header+"<ErrorResponse><Error><Type>"+blame(status)+"</Type>"+inner+
			"</Error><RequestId>"+requestID+"</RequestId></ErrorResponse>")
	}
}

func blame(status int) string {
	if status >= http.StatusInternalServerError {
		return "Receiver"
	}
	return "Sender"
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // writes to a Buffer do not fail
	return b.String()
}

// Body returns the body of a response and leaves it readable.
func Body(res *http.Response) ([]byte, error) {
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read moto's response: %w", err)
	}
	SetBody(res, body)
	return body, nil
}

// SetBody replaces the body of a response.
func SetBody(res *http.Response, body []byte) {
	res.Body = io.NopCloser(bytes.NewReader(body))
	res.ContentLength = int64(len(body))
	res.TransferEncoding = nil
	res.Header.Set("Content-Length", fmt.Sprint(len(body)))
}
