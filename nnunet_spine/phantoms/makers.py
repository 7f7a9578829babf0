"""How three makers write their series: a table."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_spine.phantoms.model import Maker, Series


@dataclass(frozen=True)
class SeriesStyle:
    """What a maker writes into one kind of series; `{region}` stands for C, T or L."""

    number: int
    descriptions: tuple[str, ...]
    protocol: str
    repetition_ms: float
    echo_ms: float
    echo_train: int
    sequence_name: str | None


@dataclass(frozen=True)
class MakerStyle:
    """What all series of a maker have in common.

    Parameters
    ----------
    models
        Scanner and field strength in tesla.
    image_type, sequence_variant, scan_options, software
        Values of the elements of that name.
    bits_stored, signed, full_scale
        Stored integers, and the stored value that fat comes to.
    series
        Style of each kind of series.
    """

    models: tuple[tuple[str, float], ...]
    image_type: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    scan_options: tuple[str, ...]
    software: str
    bits_stored: int
    signed: bool
    full_scale: float
    series: dict[Series, SeriesStyle]


MAKERS: dict[Maker, MakerStyle] = {
    Maker.SIEMENS: MakerStyle(
        models=(("Avanto", 1.5), ("Aera", 1.5), ("Skyra", 3.0)),
        image_type=("ORIGINAL", "PRIMARY", "M", "ND", "NORM"),
        sequence_variant=("SK", "SP", "OSP"),
        scan_options=("PFP", "SAT1"),
        software="syngo MR E11",
        bits_stored=12,
        signed=False,
        full_scale=900.0,
        series={
            Series.T2: SeriesStyle(2, ("t2_tse_sag",), "t2_tse_sag_{region}WS", 3500, 102, 17, "*tse2d1_17"),
            Series.T1_PRE: SeriesStyle(3, ("t1_tse_sag",), "t1_tse_sag_{region}WS", 560, 10, 3, "*tse2d1_3"),
            Series.AXIAL_T1: SeriesStyle(5, ("t1_tse_tra",), "t1_tse_tra_{region}WS", 610, 11, 3, "*tse2d1_3"),
            Series.T1_POST: SeriesStyle(
                7, ("t1_tse_sag_KM", "t1_tse_sag_post_Gd"), "t1_tse_sag_{region}WS", 560, 10, 3, "*tse2d1_3"
            ),
        },
    ),
    Maker.GE: MakerStyle(
        models=(("Signa HDxt", 1.5), ("Optima MR450w", 1.5), ("DISCOVERY MR750w", 3.0)),
        image_type=("ORIGINAL", "PRIMARY", "OTHER"),
        sequence_variant=("SK",),
        scan_options=("FAST_GEMS", "NPW", "TRF_GEMS", "FILTERED_GEMS"),
        software="24\\LX\\MR Software release:DV24.0",
        bits_stored=16,
        signed=True,
        full_scale=4200.0,
        series={
            Series.T2: SeriesStyle(2, ("SAG T2 FSE",), "{region}-SPINE W/WO", 3417, 108, 19, None),
            Series.T1_PRE: SeriesStyle(3, ("SAG T1 FSE",), "{region}-SPINE W/WO", 617, 12, 3, None),
            Series.AXIAL_T1: SeriesStyle(4, ("AX T1 FSE",), "{region}-SPINE W/WO", 650, 13, 3, None),
            Series.T1_POST: SeriesStyle(
                6, ("SAG T1 FSE +C", "SAG T1 POST GAD"), "{region}-SPINE W/WO", 617, 12, 3, None
            ),
        },
    ),
    Maker.PHILIPS: MakerStyle(
        models=(("Achieva", 1.5), ("Ingenia", 1.5), ("Ingenia", 3.0)),
        image_type=("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
        sequence_variant=("SK",),
        scan_options=("FC", "SP"),
        software="5.3.1\\5.3.1.0",
        bits_stored=12,
        signed=False,
        full_scale=1400.0,
        series={
            Series.T2: SeriesStyle(301, ("T2W_TSE_SAG",), "T2W_TSE_SAG {region}S", 3000, 100, 20, None),
            Series.T1_PRE: SeriesStyle(401, ("T1W_TSE_SAG",), "T1W_TSE_SAG {region}S", 500, 8, 4, None),
            Series.AXIAL_T1: SeriesStyle(501, ("T1W_TSE_TRA",), "T1W_TSE_TRA {region}S", 540, 8, 4, None),
            Series.T1_POST: SeriesStyle(
                701, ("T1W_TSE_SAG +C", "sT1W_TSE_SAG CE"), "T1W_TSE_SAG {region}S", 500, 8, 4, None
            ),
        },
    ),
}
