package fixups

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/xeroops/xeroops/internal/fakeaws"
)

// instanceAttribute corrects three changes of an instance: of the shutdown
// behaviour (moto removes the security groups), of the security groups (moto never
// removes one from the interface), and of the metadata options (moto resets those
// that are not given).
func instanceAttribute() fakeaws.Middleware {
	return func(next fakeaws.Handler) fakeaws.Handler {
		return func(c *fakeaws.Call) (*http.Response, error) {
			var change func(*fakeaws.Call) (url.Values, error)
			switch {
			case c.Is(fakeaws.EC2, "ModifyInstanceAttribute") && c.Params.Has("InstanceInitiatedShutdownBehavior.Value"):
				change = shutdownAsAttribute
			case c.Is(fakeaws.EC2, "ModifyInstanceAttribute") && c.Params.Has("GroupId.1"):
				change = groupsOfInterface
			case c.Is(fakeaws.EC2, "ModifyInstanceMetadataOptions"):
				change = allMetadataOptions
			default:
				return next(c)
			}
			params, err := change(c)
			if err != nil {
				return asRefusal(c, err)
			}
			return next(c.With(params))
		}
	}
}

func shutdownAsAttribute(c *fakeaws.Call) (url.Values, error) {
	const name = "InstanceInitiatedShutdownBehavior.Value"
	params := copyParams(c.Params, name)
	params.Set("Attribute", "instanceInitiatedShutdownBehavior")
	params.Set("Value", c.Params.Get(name))
	return params, nil
}

func groupsOfInterface(c *fakeaws.Call) (url.Values, error) {
	instance, err := describeInstance(c, c.Params.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	params := copyParams(c.Params, "GroupId.", "InstanceId")
	params.Set("Action", "ModifyNetworkInterfaceAttribute")
	params.Set("NetworkInterfaceId", aws.ToString(instance.NetworkInterfaces[0].NetworkInterfaceId))
	for i, id := range listParam(c.Params, "GroupId") {
		params.Set(indexed("SecurityGroupId", i+1), id)
	}
	return params, nil
}

func allMetadataOptions(c *fakeaws.Call) (url.Values, error) {
	instance, err := describeInstance(c, c.Params.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	params := copyParams(c.Params)
	set := func(name, value string) {
		if !params.Has(name) && value != "" {
			params.Set(name, value)
		}
	}
	if o := instance.MetadataOptions; o != nil {
		set("HttpTokens", string(o.HttpTokens))
		set("HttpEndpoint", string(o.HttpEndpoint))
		set("HttpProtocolIpv6", string(o.HttpProtocolIpv6))
		set("InstanceMetadataTags", string(o.InstanceMetadataTags))
		if o.HttpPutResponseHopLimit != nil {
			set("HttpPutResponseHopLimit", strconv.Itoa(int(*o.HttpPutResponseHopLimit)))
		}
	}
	return params, nil
}
