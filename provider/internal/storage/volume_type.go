package storage

import (
	"context"
	"fmt"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

// volumeLimits are the limits of a volume type.
type volumeLimits struct {
	minSizeGiB, maxSizeGiB int64
	minIOPS, maxIOPS       int64
	iopsPerGiB             int64 // at most
	baseIOPS               int64 // of volumes of any size; also the default
	minThroughputMiBps     int64 // also the default; 0: the type has no throughput of its own
	maxThroughputMiBps     int64
}

// The limits of gp3, the type of root volumes (EC2 API reference, CreateVolume; EBS user
// guide, "General Purpose SSD volumes").
const (
	GP3MinIOPS, GP3MaxIOPS                       = 3000, 80000 // the minimum is also the default
	GP3IOPSPerGiB                                = 500         // at most, above the minimum
	GP3MinThroughputMiBps, GP3MaxThroughputMiBps = 125, 2000   // the minimum is also the default
	GP3IOPSPerMiBps                              = 4           // at least
)

// limitsOf are the limits by type (the same pages, and "Provisioned IOPS SSD volumes"). All io2 volumes
// are io2 Block Express; an instance type without it reaches 64,000 IOPS of a volume.
var limitsOf = map[ec2types.VolumeType]volumeLimits{
	ec2types.VolumeTypeGp3: {minSizeGiB: 1, maxSizeGiB: 65536, minIOPS: GP3MinIOPS, maxIOPS: GP3MaxIOPS, iopsPerGiB: GP3IOPSPerGiB, baseIOPS: GP3MinIOPS,
		minThroughputMiBps: GP3MinThroughputMiBps, maxThroughputMiBps: GP3MaxThroughputMiBps},
	ec2types.VolumeTypeIo2: {minSizeGiB: 4, maxSizeGiB: 65536, minIOPS: 100, maxIOPS: 256000, iopsPerGiB: 1000},
}

// The widest limits of all types.
const (
	minSizeGiB, maxSizeGiB = 1, 65536
	minIOPS, maxIOPS       = 100, 256000
)

// volumeType returns the type; null is gp3.
func (m *volumeModel) volumeType() ec2types.VolumeType {
	if m.Type.IsNull() {
		return ec2types.VolumeTypeGp3
	}
	return ec2types.VolumeType(m.Type.ValueString())
}

// checkLimits returns an error for each configured value that the type does not
// allow. Unknown values pass.
func (m *volumeModel) checkLimits() []error {
	limits, known := limitsOf[m.volumeType()]
	if m.Type.IsUnknown() || !known {
		return nil
	}
	var errs []error
	fail := func(attribute, format string, values ...any) {
		errs = append(errs, base.AtAttribute(path.Root(attribute), fmt.Errorf(format, values...)))
	}
	size, iops := m.SizeGiB.ValueInt64(), m.IOPS.ValueInt64() // 0 if unknown or null
	if size > 0 && size < limits.minSizeGiB {
		fail("size_gib", "a volume of type %s has %d to %d GiB", m.volumeType(), limits.minSizeGiB, limits.maxSizeGiB)
	}
	if limits.baseIOPS == 0 && m.IOPS.IsNull() {
		fail("iops", "a volume of type %s needs iops: %d to %d, and at most %d per GiB", m.volumeType(), limits.minIOPS, limits.maxIOPS, limits.iopsPerGiB)
	}
	if known := !m.IOPS.IsNull() && !m.IOPS.IsUnknown(); known && (iops < limits.minIOPS || iops > limits.maxIOPS) {
		fail("iops", "a volume of type %s has between %d and %d IOPS", m.volumeType(), limits.minIOPS, limits.maxIOPS)
	} else if most := max(limits.baseIOPS, limits.iopsPerGiB*size); known && size > 0 && iops > most {
		fail("iops", "a volume of %d GiB has at most %d IOPS (type %s: %d per GiB); reduce iops or increase size_gib", size, most, m.volumeType(), limits.iopsPerGiB)
	}
	return append(errs, m.checkThroughput(limits)...)
}

func (m *volumeModel) checkThroughput(limits volumeLimits) []error {
	if m.ThroughputMiBps.IsNull() || m.ThroughputMiBps.IsUnknown() {
		return nil
	}
	at := path.Root("throughput_mibps")
	throughput, iops := m.ThroughputMiBps.ValueInt64(), m.IOPS.ValueInt64()
	if m.IOPS.IsNull() {
		iops = limits.baseIOPS
	}
	switch {
	case limits.minThroughputMiBps == 0:
		return []error{base.AtAttribute(at, fmt.Errorf("a volume of type %s has the throughput that follows from its iops; remove throughput_mibps", m.volumeType()))}
	case throughput < limits.minThroughputMiBps || throughput > limits.maxThroughputMiBps:
		return []error{base.AtAttribute(at, fmt.Errorf("a volume of type %s has between %d and %d MiB/s", m.volumeType(), limits.minThroughputMiBps, limits.maxThroughputMiBps))}
	case !m.IOPS.IsUnknown() && throughput*GP3IOPSPerMiBps > iops:
		return []error{base.AtAttribute(at, fmt.Errorf("%d MiB/s need %d IOPS (%d per MiB/s), but iops is %d; increase iops or reduce throughput_mibps",
			throughput, throughput*GP3IOPSPerMiBps, GP3IOPSPerMiBps, iops))}
	}
	return nil
}

// planPerformance plans iops and throughput_mibps if they are not configured: their
// defaults depend on the type.
func planPerformance(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	var config volumeModel
	for name, value := range map[string]any{"type": &config.Type, "iops": &config.IOPS, "throughput_mibps": &config.ThroughputMiBps} {
		resp.Diagnostics.Append(req.Config.GetAttribute(ctx, path.Root(name), value)...)
	}
	if resp.Diagnostics.HasError() {
		return
	}
	iops, throughput := config.defaults()
	if config.IOPS.IsNull() {
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("iops"), iops)...)
	}
	if config.ThroughputMiBps.IsNull() {
		resp.Diagnostics.Append(resp.Plan.SetAttribute(ctx, path.Root("throughput_mibps"), throughput)...)
	}
}

// defaults returns the defaults of iops and throughput for the type: unknown if it
// is, and null if the type has none.
func (m *volumeModel) defaults() (iops, throughput types.Int64) {
	if m.Type.IsUnknown() {
		return types.Int64Unknown(), types.Int64Unknown()
	}
	orNull := func(v int64) types.Int64 {
		if v == 0 {
			return types.Int64Null()
		}
		return types.Int64Value(v)
	}
	limits := limitsOf[m.volumeType()]
	return orNull(limits.baseIOPS), orNull(limits.minThroughputMiBps)
}
