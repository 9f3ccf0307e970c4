package protocol

import "encoding/binary"

// ErrorField gives a field of the body of an ErrorResponse or NoticeResponse, by its type (manual, "Error and Notice
// Message Fields"); nil if there is none. It is a part of the body.
func ErrorField(body []byte, kind byte) []byte {
	for len(body) > 0 && body[0] != 0 {
		value, rest, ok := CString(body[1:])
		if !ok {
			return nil
		}
		if body[0] == kind {
			return value
		}
		body = rest
	}
	return nil
}

// AppendExplained appends an ErrorResponse with a detail and a hint of ours, where it has none of its own. All its other
// fields stay as they are.
func AppendExplained(dst, frame []byte, detail, hint string) []byte {
	start, body := len(dst), frame[HeadSize:]
	dst = append(dst, frame[:HeadSize]...)
	end := len(body)
	if end > 0 && body[end-1] == 0 {
		end--
	}
	dst = append(dst, body[:end]...)
	for _, f := range []struct {
		kind byte
		text string
	}{{'D', detail}, {'H', hint}} {
		if text := field(f.text); text != "" && ErrorField(body, f.kind) == nil {
			dst = append(append(append(dst, f.kind), text...), 0)
		}
	}
	dst = append(dst, 0)
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}
