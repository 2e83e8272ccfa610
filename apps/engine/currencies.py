"""
Which currencies exist and how many digits their minor unit has.

Rules: codes are three capital letters of ISO 4217; the number of digits comes from its list, never from a
habit of two; entries without a minor unit (metals, funds of account, test codes) are not money here.
Source: ISO 4217:2015, list one. A test compares this table with a published copy of that list.
"""

from typing import Final

from apps.engine.errors import CurrencyUnknown

_NO_DIGITS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO_DIGITS: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
    COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS
    INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR
    MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP
    STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_THREE_DIGITS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DIGITS: Final = "CLF UYW"

EXPONENTS: Final[dict[str, int]] = {
    code: digits
    for digits, codes in ((0, _NO_DIGITS), (2, _TWO_DIGITS), (3, _THREE_DIGITS), (4, _FOUR_DIGITS))
    for code in codes.split()
}


def is_known(currency: str) -> bool:
    """Tell whether this code is money with a minor unit."""
    return currency in EXPONENTS


def exponent(currency: str, *, path: str = "currency") -> int:
    """
    Return how many decimal digits the minor unit of a currency has.

    :raises CurrencyUnknown: if the code is missing, not in capitals, or not on the list
    """
    digits = EXPONENTS.get(currency) if isinstance(currency, str) else None
    if digits is None:
        shown = currency if isinstance(currency, str) and currency else "nothing"
        raise CurrencyUnknown(f'"{shown}" is not a currency; use a three-letter ISO 4217 code such as "USD"', path=path)
    return digits
