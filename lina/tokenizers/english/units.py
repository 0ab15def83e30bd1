"""Units of measure by their signs: one and many."""

_REGULAR = {
    "km": "kilometer", "cm": "centimeter", "mm": "millimeter", "m": "meter", "nm": "nanometer", "µm": "micrometer",
    "kg": "kilogram", "mg": "milligram", "g": "gram", "µg": "microgram",
    "ml": "milliliter", "mL": "milliliter", "cl": "centiliter", "L": "liter", "l": "liter", "dl": "deciliter",
    "dL": "deciliter",
    "oz": "ounce", "lb": "pound", "lbs": "pound", "yd": "yard", "yds": "yard", "mi": "mile", "gal": "gallon",
    "tsp": "teaspoon", "tbsp": "tablespoon", "pt": "pint", "qt": "quart", "ha": "hectare",
    "h": "hour", "hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "sec": "second", "secs": "second",
    "s": "second", "ms": "millisecond", "µs": "microsecond", "µL": "microliter",
    "µl": "microliter", "ns": "nanosecond", "yr": "year", "kn": "knot", "yrs": "year",
    "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "PB": "petabyte",
    "Mb": "megabit", "Gb": "gigabit", "MiB": "mebibyte", "GiB": "gibibyte",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "kWh": "kilowatt hour", "Wh": "watt hour",
    "V": "volt", "kV": "kilovolt", "mV": "millivolt", "mA": "milliampere", "mAh": "milliampere hour",
    "J": "joule", "kJ": "kilojoule", "kcal": "kilocalorie", "cal": "calorie", "N": "newton", "Pa": "pascal",
    "dB": "decibel", "px": "pixel",
}  # fmt: skip
_SPECIAL = {
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "kPa": ("kilopascal", "kilopascals"),
    "hPa": ("hectopascal", "hectopascals"),
    "ft": ("foot", "feet"),
    "in.": ("inch", "inches"),
    "mph": ("mile per hour", "miles per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "rpm": ("revolution per minute", "revolutions per minute"),
    "fps": ("frame per second", "frames per second"),
    "bpm": ("beat per minute", "beats per minute"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "psi": ("pound per square inch", "pounds per square inch"),
    "dpi": ("dot per inch", "dots per inch"),
    "atm": ("atmosphere", "atmospheres"),
    "fl oz": ("fluid ounce", "fluid ounces"),
    "ppm": ("part per million", "parts per million"),
    "hp": ("horsepower", "horsepower"),
    "Ω": ("ohm", "ohms"),
    "kΩ": ("kiloohm", "kiloohms"),
}
UNITS = {sign: (name, f"{name}s") for sign, name in _REGULAR.items()} | _SPECIAL
UNITS |= {
    sign.replace("µ", "μ"): names for sign, names in UNITS.items()
}  # the Greek letter is typed as often
