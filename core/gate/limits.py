"""What the signal of a clip may be; as data, so that the command line has an option for each."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SignalLimits:
    """What a clip's signal may be."""

    max_true_peak: float = field(
        default=0.0, metadata={"meaning": "dBTP; above 0 a converter or a codec clips (EBU R 128 delivers at -1)"}
    )
    max_dc: float = field(
        default=0.01, metadata={"meaning": "constant offset of a channel, of full scale: 1 % costs headroom and clicks"}
    )
    max_clicks: int = field(default=0, metadata={"meaning": "jumps in the sound that stand alone"})
    max_clipped: int = field(default=0, metadata={"meaning": "places, a second apart, where tops are cut off"})
    max_silence: float = field(
        default=2.0, metadata={"meaning": "seconds of silence at a stretch, 60 dB below the clip's peak"}
    )
