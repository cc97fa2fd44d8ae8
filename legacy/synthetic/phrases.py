"""What is said in the calls, by language: openings of the agent, its questions, answers of the lead."""

from typing import NamedTuple

SYSTEM_NOTE = "Call connected; answering machine detection: human."
SYSTEM_PROMPT = """You are a professional AI assistant making an outbound call to schedule a meeting.

Your goal is to:
1. Introduce yourself politely
2. Gauge the prospect's interest level
3. If interested, propose "Tuesday at 2pm or Wednesday at 10am"

Guidelines:
- Keep responses concise (1-3 sentences)
- Use the name the lead gave; never say 100% or promise a price (\\u20ac, $) 🙂
"""


class Voice(NamedTuple):
    id: str
    name: str


VOICES = (
    Voice("21m00Tcm4TlvDq8ikWAM", "Rachel"),
    Voice("pNInz6obpgDQGcFmaJgB", "Adam"),
    Voice("EXAVITQu4vr4xnSDxMaL", 'Bella "warm"'),
    Voice("he-IL-Wavenet-A", "נועה"),
)


class Phrases(NamedTuple):
    agent: tuple[str, ...]
    lead: tuple[str, ...]
    asides: tuple[str, ...]


_EN = Phrases(
    agent=(
        "Hello, this is AI Scheduler. Is this a good moment?",
        'We help teams book "qualified" meetings, nothing more.',
        "Would Tuesday at 2pm or Wednesday at 10am work better?",
        "Great 👍 I have that down for thirty minutes.",
        "Could you confirm the e-mail address, please?",
        "I understand. Is there a better time this week?",
        "Thank you for your time, and have a great day!",
        "Sure: no cost, no commitment, and it's 30 minutes.",
    ),
    lead=(
        "Yes, speaking. Who is this?",
        "Hmm, let me check my calendar, one second...",
        "Tuesday works, but not before noon, okay?",
        "It's lead\tunderscore\twork at example dot com.",
        "I'm driving right now, can you call me later?",
        'My colleague said "never again", so probably not.',
        "Is the folder still C:\\sales\\2025, or did it move?",
        "Sounds good 😀🎉",
        "First question: the price.\nSecond: how long does it take?",
    ),
    asides=(
        "Please take all the time you need, I can stay on the line while you look it up.",
        "Sorry, the line was a little noisy, could you repeat the last part for me?",
        "As I said, there is nothing to prepare and nobody will ask you to buy anything.",
        "Right, okay, I see, yes, that is what I was thinking about as well, to be honest.",
    ),
)
_FR = Phrases(
    agent=(
        "Bonjour, ici AI Scheduler. Je vous dérange ?",
        "Mardi à 14 h ou mercredi à 10 h, qu'en dites-vous ?",
        "Très bien, c'est noté pour trente minutes.",
        "Pouvez-vous me confirmer votre adresse e-mail ?",
        "Merci beaucoup, excellente journée à vous !",
    ),
    lead=(
        "Oui, c'est moi. C'est à quel sujet ?",
        "Attendez, je regarde mon agenda…",
        "Mercredi, ça me va, mais pas avant 10 h.",
        "Je suis au volant, rappelez-moi plus tard.",
        "Non merci, ça ne m'intéresse pas « du tout ».",
    ),
    asides=(
        "Prenez tout votre temps, je reste en ligne pendant que vous vérifiez, c'est normal.",
        "Excusez-moi, la ligne était mauvaise, pourriez-vous répéter la fin de la phrase ?",
    ),
)
_DE = Phrases(
    agent=(
        "Guten Tag, hier ist AI Scheduler. Passt es gerade?",
        "Dienstag um 14 Uhr oder lieber Mittwoch um 10 Uhr?",
        "Schön, dann trage ich dreißig Minuten für Sie ein.",
        "Würden Sie mir bitte Ihre E-Mail-Adresse bestätigen?",
        "Vielen Dank für Ihre Zeit und einen schönen Tag!",
    ),
    lead=(
        "Ja, am Apparat. Worum geht es denn?",
        "Moment, ich schaue kurz in den Kalender …",
        "Mittwoch geht, aber bitte nicht vor zehn.",
        "Ich fahre gerade, rufen Sie später noch einmal an?",
        "Nein danke, daran habe ich kein Interesse.",
    ),
    asides=(
        "Lassen Sie sich ruhig Zeit, ich bleibe in der Leitung, bis Sie nachgesehen haben.",
        "Entschuldigung, die Verbindung war schlecht, könnten Sie das bitte wiederholen?",
    ),
)
_ES = Phrases(
    agent=(
        "Buenos días, le llamo de AI Scheduler. ¿Tiene un momento?",
        "¿Le viene bien el martes a las 14:00 o el miércoles?",
        "Perfecto, lo apunto: treinta minutos.",
        "¿Me confirma su correo electrónico, por favor?",
    ),
    lead=(
        "Sí, soy yo. ¿De qué se trata?",
        "Un momento, que miro la agenda…",
        "El miércoles por la mañana me va mejor.",
        "Ahora no puedo, estoy conduciendo.",
    ),
    asides=(
        "Tómese el tiempo que necesite, me quedo en línea mientras usted lo consulta.",
        "Perdone, se oía bastante mal, ¿podría repetirme la última parte, por favor?",
    ),
)
_IT = Phrases(
    agent=(
        "Buongiorno, qui AI Scheduler. La disturbo?",
        "Preferisce martedì alle 14 o mercoledì alle 10?",
        "Perfetto, segno trenta minuti. È tutto chiaro?",
        "Mi conferma l'indirizzo e-mail, per favore?",
    ),
    lead=(
        "Sì, sono io. Di cosa si tratta?",
        "Aspetti, guardo l'agenda un attimo…",
        "Mercoledì va bene, però non prima delle dieci.",
        "Adesso sto guidando, mi richiami più tardi.",
    ),
    asides=(
        "Faccia pure con calma, resto in linea mentre Lei controlla sul calendario.",
        "Mi scusi, la linea era disturbata, può ripetere l'ultima parte, per cortesia?",
    ),
)
_HE = Phrases(
    agent=(
        "שלום, מדברים מ־AI Scheduler. זה זמן טוב?",
        "יום שלישי ב־14:00 או רביעי ב־10:00?",
        "מצוין, רשמתי חצי שעה ביומן.",
        "אפשר לאשר את כתובת המייל, בבקשה?",
    ),
    lead=(
        "כן, מדבר. במה מדובר?",
        "רגע, אני בודק ביומן…",
        "רביעי מתאים, אבל לא לפני עשר.",
        "אני נוהג עכשיו, תתקשרו מאוחר יותר.",
    ),
    asides=("קח את הזמן, אני נשאר על הקו בינתיים.", "סליחה, הקו היה רועש, אפשר לחזור על זה?"),
)
_AR = Phrases(
    agent=(
        "مرحبا، معك AI Scheduler. هل الوقت مناسب؟",
        "الثلاثاء الساعة الثانية أم الأربعاء صباحا؟",
        "ممتاز، سجلت الموعد لنصف ساعة.",
        "هل يمكنك تأكيد البريد الإلكتروني؟",
    ),
    lead=(
        "نعم، أنا هو. ما الموضوع؟",
        "لحظة، سأراجع المواعيد…",
        "الأربعاء مناسب، لكن ليس قبل العاشرة.",
        "أنا أقود السيارة الآن، اتصل لاحقا.",
    ),
    asides=("خذ وقتك، سأبقى معك على الخط.", "عذرا، الصوت لم يكن واضحا، هل يمكنك الإعادة؟"),
)

BY_LANGUAGE = {"en": _EN, "fr": _FR, "de": _DE, "es": _ES, "it": _IT, "he": _HE, "ar": _AR}
SUMMARIES = (
    "Lead asked for a follow-up, prefers mornings.",
    'Interested; wants to see the "team" plan, price still open.',
    "Short call, polite decline.",
    "Booked thirty minutes; e-mail confirmed.",
    "שיחה קצרה, ביקש לחזור אליו בשבוע הבא.",
)
