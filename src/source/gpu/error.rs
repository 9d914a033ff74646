//! Why GPUs could not be read: every state has a name, a sentence and a remedy.

/// Why GPUs, or one of them, could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// The driver's library is missing.
    #[error(
        "libnvidia-ml.so.1 cannot be loaded ({0}); it comes with the driver: in a container, use the NVIDIA runtime with NVIDIA_DRIVER_CAPABILITIES=utility, or read a dcgm-exporter (--gpu-source dcgm)"
    )]
    LibraryMissing(String),
    /// The kernel module is not loaded.
    #[error("the NVIDIA driver is not loaded on this host; load it, or use --gpu-source none")]
    DriverNotLoaded,
    /// The library and the kernel module are of different driver versions.
    #[error(
        "the driver's library and kernel module differ in version: the driver was upgraded under us; restart this container"
    )]
    VersionMismatch,
    /// The driver denies access to a GPU, or to all of them.
    #[error(
        "the driver denies access to {0}; give this container the device, or name others with --gpu-devices"
    )]
    NoPermission(String),
    /// The driver shows no GPU.
    #[error(
        "the driver shows no GPU to this process; in a container, set NVIDIA_VISIBLE_DEVICES, or share the engine's GPU"
    )]
    NoGpu,
    /// A requested GPU does not exist.
    #[error("--gpu-devices names {asked}, and only {seen} can be seen")]
    NoSuchGpu {
        /// The requested GPU.
        asked: String,
        /// The existing GPUs.
        seen: String,
    },
    /// A GPU fell off the bus, or is being reset.
    #[error("GPU {0} is lost: it fell off the bus or needs a reset (see dmesg for its Xid)")]
    GpuLost(String),
    /// MIG is enabled, and no instance is visible.
    #[error(
        "GPU {0} is cut up by MIG and none of its slices can be seen; give this container the engine's MIG device"
    )]
    NoMigSlice(String),
    /// The driver did not answer in time.
    #[error("no answer from the driver yet; it is starting, resetting a GPU, or hangs")]
    Timeout,
    /// Another error of the driver.
    #[error("NVML failed on {place}: {cause}")]
    Nvml {
        /// GPU or call.
        place: String,
        /// The driver's message.
        cause: String,
    },
    /// The NVML thread has ended.
    #[error("the thread that reads NVML has ended; restart the exporter")]
    Stopped,
    /// The dcgm-exporter's page cannot be fetched.
    #[error("dcgm-url: {message}")]
    Fetch {
        /// The label `reason`.
        reason: &'static str,
        /// The error.
        message: String,
    },
    /// The page is not text, or has no GPU.
    #[error("{url} shows no GPU: {cause}")]
    NoGpuOnPage {
        /// The page.
        url: String,
        /// The problem.
        cause: String,
    },
    /// The page shows stale values.
    #[error(
        "{url} shows the same energy for {seconds} s: the exporter behind it has stopped collecting"
    )]
    Stale {
        /// The page.
        url: String,
        /// Since how many seconds.
        seconds: String,
    },
}

impl GpuError {
    /// The value of the label `reason` in `source_errors_total`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::LibraryMissing(_) => "library_missing",
            Self::DriverNotLoaded => "driver_not_loaded",
            Self::VersionMismatch => "version_mismatch",
            Self::NoPermission(_) => "no_permission",
            Self::NoGpu => "no_gpu",
            Self::NoSuchGpu { .. } => "no_such_gpu",
            Self::GpuLost(_) => "gpu_lost",
            Self::NoMigSlice(_) => "no_mig_slice",
            Self::Timeout => "timeout",
            Self::Nvml { .. } => "nvml",
            Self::Stopped => "stopped",
            Self::Fetch { reason, .. } => reason,
            Self::NoGpuOnPage { .. } => "no_gpu",
            Self::Stale { .. } => "stale",
        }
    }

    /// NVML's reasons, for series that exist from the start.
    pub(crate) const OF_NVML: [&'static str; 11] = [
        "driver_not_loaded",
        "gpu_lost",
        "library_missing",
        "no_gpu",
        "no_mig_slice",
        "no_permission",
        "no_such_gpu",
        "nvml",
        "stopped",
        "timeout",
        "version_mismatch",
    ];

    /// A dcgm-exporter's reasons.
    pub(crate) const OF_DCGM: [&'static str; 11] = [
        "client",
        "connect",
        "costly",
        "damaged",
        "no_gpu",
        "no_such_gpu",
        "redirect",
        "stale",
        "status",
        "timeout",
        "too_large",
    ];
}
